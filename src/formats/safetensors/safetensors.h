// safetensors files: a JSON header that names tensors, and their bytes.
//
//   File f = POM_TRY(read_safetensors("model.safetensors"));
//   Weight w = POM_TRY(f.tensors.at("lm_head.weight").weight());        // a range of the mapped file
//   File all = POM_TRY(read_sharded("model.safetensors.index.json"));   // every shard that the index names
//
// The header is a stranger's: sizes must agree with the bytes, ranges lie within the file and not overlap.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "ir/weight.h"

namespace pomona::safetensors {

struct Entry {
  std::string stored;         // the dtype as the file calls it: "BF16", "F8_E4M3"
  DType dtype = DType::fp32;  // uint8 for scales that are exponents only (F8_E8M0)
  Sizes sizes;
  Bytes bytes;
  Result<Weight> weight() const { return Weight::stored(bytes, dtype, sizes); }
};

struct File {
  std::map<std::string, Entry> tensors;
  std::map<std::string, std::string> metadata;
};

Result<File> parse_safetensors(const Bytes& bytes);
Result<File> read_safetensors(const std::string& path);
// The tensors of all files that an index names, which lie beside it.
Result<File> read_sharded(const std::string& index_path);

}  // namespace pomona::safetensors
