// Importance matrices: what llama.cpp's `llama-imatrix` saw going into each matrix of a model, as sums of squares per
// input channel. Two kinds of file hold them, a plain list of entries (.dat) and GGUF; which one it is, the bytes say.
//
//   ImportanceMatrix m = POM_TRY(read_imatrix(POM_TRY(map_file("model.imatrix"))));
//   m.mean_squares.at("blk.0.ffn_up.weight")       // one number per input channel
//
// Of a matrix of experts the mean over them is given.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace pomona::gguf {

struct ImportanceMatrix {
  std::map<std::string, std::vector<float>> mean_squares;
};
Result<ImportanceMatrix> read_imatrix(const Bytes& file);

}  // namespace pomona::gguf
