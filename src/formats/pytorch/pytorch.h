// PyTorch's weights files (.bin, .pt, .pth): what torch.save makes of a dictionary of tensors.
//
//   Entries t = POM_TRY(read_pytorch("pytorch_model.bin"));
//   t.at("model.norm.weight").weight
//
// The file is a pickle, which in Python may run any code. Here nothing runs: of all that it may call, only the making
// of tensors, ordered dictionaries and parameters is known, and anything else is an error that names it. Nested
// dictionaries give names joined by dots; one that holds everything under "state_dict" or "model" is opened.
#pragma once
#include <map>
#include <string>

#include "ir/weight.h"

namespace pomona::pytorch {

struct Entry {
  std::string stored;  // "BFloat16"
  Weight weight;
};
using Entries = std::map<std::string, Entry>;

// The zip archives that PyTorch writes since version 1.6.
Result<Entries> parse_pytorch(const Bytes& bytes);
Result<Entries> read_pytorch(const std::string& path);

}  // namespace pomona::pytorch
