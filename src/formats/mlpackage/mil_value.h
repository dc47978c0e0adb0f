// MIL.proto's types and values, to and from Type and Weight.
//
//   DeclaredType t = POM_TRY(read_value_type(message));           // MILSpec.ValueType
//   Weight w = POM_TRY(read_value(message, weight_files));        // MILSpec.Value: immediate, or a place in a weight
//   file
//
// Immediates go to the oneof member that MIL asks for by dtype: int8, uint8, uint32, fp16 and the sub-byte types to
// `bytes`, int16, uint16 and int32 to `ints`, int64 and uint64 to `longInts`.
#pragma once
#include <map>
#include <string>

#include "formats/mlpackage/wire.h"
#include "ir/weight.h"

namespace pomona::mlpackage {

// The files that values refer to, mapped when they are first needed.
class WeightFiles {
 public:
  // An empty folder: there are none.
  explicit WeightFiles(std::string folder) : folder_(std::move(folder)) {}
  // `name` as values spell it: "@model_path/weights/weight.bin".
  Result<Bytes> open(std::string_view name);

 private:
  std::string folder_;
  std::map<std::string, Bytes, std::less<>> files_;
};

struct DeclaredType {
  Type type;
  bool any_rank = false;
  std::vector<DeclaredType> tuple;  // a tuple's parts; only literals have such types
  bool is_tuple = false;
};
// Unknown dimensions are named `<prefix>_<axis>`; without a prefix all of them are the symbol "?", which says nothing.
Result<DeclaredType> read_value_type(Message message, const std::string& prefix = {}, int depth = 0);

// Lists and tuples become Tensor::list.
Result<Weight> read_value(Message message, WeightFiles& files, int depth = 0);
// A value that must be a text.
Result<std::string> read_text_value(Message message, WeightFiles& files);
// buildInfo: a dictionary of texts.
Result<std::map<std::string, std::string>> read_text_dictionary(Message message, WeightFiles& files);

// The place of a tensor in the weight file that is being written.
inline constexpr const char* weight_file_reference = "@model_path/weights/weight.bin";
struct BlobPlace {
  std::uint64_t offset = 0;
};
std::string value_type_bytes(const Type& type);
// A Value message; an immediate unless a place is given. Errors: the weight cannot be computed.
Result<std::string> value_bytes(const Weight& weight, const BlobPlace* place = nullptr);
std::string text_value_bytes(const std::string& text);
std::string text_dictionary_bytes(const std::map<std::string, std::string>& entries);

}  // namespace pomona::mlpackage
