#include "formats/mlpackage/mil_value.h"

#include <cstring>

#include "formats/mlpackage/blob.h"

namespace pomona::mlpackage {
namespace {

// Stands for any unknown size: declared types are only compared with inferred ones.
Dim anonymous_dimension() { return Dim::named("?"); }

Result<Dim> read_dimension(Message message, bool& variadic) {
  WireField field, inner;
  Dim dim = anonymous_dimension();
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    Message contents = POM_TRY(field.message());
    std::int64_t size = 0;
    for (WireReader parts(contents); POM_TRY(parts.next(inner));) {
      if (inner.number != 1) continue;
      size = POM_TRY(inner.integer());
      if (field.number == 2) variadic = size != 0;
    }
    POM_REQUIRE(size >= 0, "byte {}: a dimension has the size {}", contents.place(), size);
    if (field.number == 1) dim = size;
  }
  return dim;
}

Result<DeclaredType> read_tensor_type(Message message, const std::string& prefix) {
  DeclaredType declared;
  std::int64_t number = 0, rank = 0;
  WireField field;
  bool variadic = false;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        number = POM_TRY(field.integer());
        break;
      case 2:
        rank = POM_TRY(field.integer());
        break;
      case 3: {
        Dim dim = POM_TRY(read_dimension(POM_TRY(field.message()), variadic));
        Shape& shape = declared.type.shape;
        if (!dim.known() && !prefix.empty()) dim = Dim::named(prefix + "_" + std::to_string(shape.size()));
        shape.push_back(dim);
        break;
      }
    }
  auto dtype = number >= 0 && number < 1000 ? dtype_of_proto(int(number)) : std::nullopt;
  POM_REQUIRE(dtype, "byte {}: a tensor has the unknown dtype {}", message.place(), number);
  declared.type.dtype = *dtype;
  declared.any_rank = rank < 0 || variadic;
  POM_REQUIRE(declared.any_rank || rank == std::int64_t(declared.type.rank()),
              "byte {}: a tensor has rank {}, but {} dimensions", message.place(), rank, declared.type.rank());
  return declared;
}

Result<DeclaredType> read_list_type(Message message, const std::string& prefix, int depth) {
  DeclaredType declared;
  Dim length = anonymous_dimension();
  bool variadic = false;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    if (field.number == 1) declared = POM_TRY(read_value_type(POM_TRY(field.message()), prefix, depth + 1));
    if (field.number == 2) length = POM_TRY(read_dimension(POM_TRY(field.message()), variadic));
  }
  POM_REQUIRE(declared.type.kind == Type::Kind::tensor && !declared.is_tuple,
              "byte {}: a list of something other than tensors", message.place());
  declared.type.kind = Type::Kind::list;
  declared.type.length = length;
  return declared;
}

Result<DeclaredType> read_tuple_type(Message message, int depth) {
  DeclaredType declared;
  declared.is_tuple = true;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));)
    if (field.number == 1) declared.tuple.push_back(POM_TRY(read_value_type(POM_TRY(field.message()), {}, depth + 1)));
  return declared;
}

Result<DeclaredType> read_dictionary_type(Message message, int depth) {
  DeclaredType key, value;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    if (field.number == 1) key = POM_TRY(read_value_type(POM_TRY(field.message()), {}, depth + 1));
    if (field.number == 2) value = POM_TRY(read_value_type(POM_TRY(field.message()), {}, depth + 1));
  }
  value.type.kind = Type::Kind::dictionary;
  value.type.key = key.type.dtype;
  return value;
}

Result<DeclaredType> read_state_type(Message message, const std::string& prefix, int depth) {
  DeclaredType declared;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));)
    if (field.number == 1) declared = POM_TRY(read_value_type(POM_TRY(field.message()), prefix, depth + 1));
  POM_REQUIRE(declared.type.kind == Type::Kind::tensor && !declared.is_tuple && !declared.any_rank,
              "byte {}: a state of something other than a tensor", message.place());
  declared.type.kind = Type::Kind::state;
  return declared;
}

// The one field of MILSpec.TensorValue that is set: its elements as the field stores them.
struct Stored {
  std::uint32_t member = 0;
  std::vector<std::int64_t> integers;  // ints, longInts, bools
  std::string fixed;                   // floats, doubles
  Message bytes;                       // bytes
  std::vector<std::string> texts;
};

Result<Stored> read_stored(Message message) {
  Stored stored;
  WireField field, inner;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    stored.member = field.number;
    Message contents = POM_TRY(field.message());
    stored.bytes = {contents.bytes.substr(0, 0), contents.origin};
    for (WireReader values(contents); POM_TRY(values.next(inner));) {
      if (inner.number != 1) continue;
      if (field.number == 1 || field.number == 6)
        POM_TRY(inner.append_fixed(stored.fixed, field.number == 1 ? 4 : 8));
      else if (field.number == 2 || field.number == 3 || field.number == 5)
        POM_TRY(inner.append_integers(stored.integers));
      else if (field.number == 4)
        stored.texts.emplace_back(POM_TRY(inner.text()));
      else if (field.number == 7)
        stored.bytes = POM_TRY(inner.message());
    }
  }
  return stored;
}

constexpr std::uint32_t member_floats = 1, member_ints = 2, member_bools = 3, member_strings = 4, member_long_ints = 5,
                        member_doubles = 6, member_bytes = 7;
std::uint32_t member_of(DType dtype) {
  switch (dtype) {
    case DType::fp32:
      return member_floats;
    case DType::fp64:
      return member_doubles;
    case DType::boolean:
      return member_bools;
    case DType::string:
      return member_strings;
    case DType::int16:
    case DType::uint16:
    case DType::int32:
      return member_ints;
    case DType::int64:
    case DType::uint64:
      return member_long_ints;
    default:
      return member_bytes;
  }
}
const char* member_name(std::uint32_t member) {
  static constexpr const char* names[] = {"nothing", "floats",   "ints",    "bools",
                                          "strings", "longInts", "doubles", "bytes"};
  return member < 8 ? names[member] : "an unknown field";
}

Result<Tensor> tensor_of_integers(DType dtype, const Sizes& sizes, const std::vector<std::int64_t>& values) {
  Tensor tensor(dtype, sizes);
  std::uint8_t* out = tensor.mutable_data();
  std::size_t width = element_size_bytes(dtype);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::int64_t value = values[i];
    if (dtype == DType::boolean) value = value != 0;
    bool fits = dtype == DType::int64 || dtype == DType::uint64 ||
                (double(value) >= lowest_value(dtype) && double(value) <= highest_value(dtype));
    POM_REQUIRE(fits, "{} does not fit {}", value, name(dtype));
    std::memcpy(out + i * width, &value, width);
  }
  return tensor;
}

Result<Weight> read_tensor_value(Message message, const Type& type, std::uint64_t count) {
  Stored stored = POM_TRY(read_stored(message));
  Sizes sizes = known_sizes(type.shape);
  std::uint32_t wanted = member_of(type.dtype);
  // A writer may leave out what it has nothing to put in.
  POM_REQUIRE(stored.member == wanted || (stored.member == 0 && count == 0),
              "byte {}: a {} has its elements in {}, not {}", message.place(), type.text(), member_name(stored.member),
              member_name(wanted));
  std::uint64_t given = wanted == member_strings ? stored.texts.size()
                        : wanted == member_floats || wanted == member_doubles
                            ? stored.fixed.size() * 8 / info(type.dtype).bits
                        : wanted == member_bytes ? stored.bytes.bytes.size()
                                                 : stored.integers.size();
  std::uint64_t needed = wanted == member_bytes ? stored_size_bytes(type.dtype, count) : count;
  POM_REQUIRE(given == needed, "byte {}: a {} needs {} {}, but {} are given", message.place(), type.text(), needed,
              wanted == member_bytes ? "bytes" : "elements", given);
  if (wanted == member_strings) return Weight(Tensor::strings(sizes, std::move(stored.texts)));
  if (wanted == member_floats || wanted == member_doubles)
    return Weight::stored(Bytes::own(std::move(stored.fixed)), type.dtype, sizes);
  if (wanted == member_bytes) return Weight::stored(Bytes::own(std::string(stored.bytes.bytes)), type.dtype, sizes);
  return Weight(POM_TRY_IN(tensor_of_integers(type.dtype, sizes, stored.integers), "byte {}", message.place()));
}

// The parts of a list or tuple value, as one run-time list.
Result<Weight> read_list_value(Message message, WeightFiles& files, int depth) {
  std::vector<Tensor> elements;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));)
    if (field.number == 1) {
      Weight element = POM_TRY(read_value(POM_TRY(field.message()), files, depth + 1));
      elements.push_back(POM_TRY(element.materialise()));
    }
  DType dtype = elements.empty() ? DType::string : elements[0].dtype();
  Sizes sizes = elements.empty() ? Sizes() : elements[0].sizes();
  return Weight(Tensor::list(dtype, sizes, std::move(elements)));
}

Result<Weight> read_immediate(Message message, const DeclaredType& declared, std::uint64_t count, WeightFiles& files,
                              int depth) {
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    Message contents = POM_TRY(field.message());
    if (field.number == 1 && !declared.is_tuple && declared.type.kind == Type::Kind::tensor)
      return read_tensor_value(contents, declared.type, count);
    if (field.number == 2 || field.number == 3) return read_list_value(contents, files, depth);
    return fail("byte {}: a value is of another kind than its type", contents.place());
  }
  POM_REQUIRE(count == 0, "byte {}: a value is empty", message.place());
  return read_tensor_value(message, declared.type, count);
}

Result<Weight> read_blob_value(Message message, const Type& type, WeightFiles& files) {
  std::string_view file;
  std::int64_t offset = 0;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    if (field.number == 1) file = POM_TRY(field.text());
    if (field.number == 2) offset = POM_TRY(field.integer());
  }
  Bytes contents = POM_TRY(files.open(file));
  return POM_TRY_IN(read_blob(contents, std::uint64_t(offset), type.dtype, known_sizes(type.shape)), "file '{}'", file);
}

// Elements of a tensor type, which must be known.
Result<std::uint64_t> known_count(const DeclaredType& declared, Message message) {
  if (declared.is_tuple || declared.type.kind != Type::Kind::tensor) return 1;
  POM_REQUIRE(!declared.any_rank && all_known(declared.type.shape), "byte {}: a value has the unknown shape {}",
              message.place(), to_string(declared.type.shape));
  std::uint64_t count = 1;
  for (Dim dim : declared.type.shape)
    POM_REQUIRE(!__builtin_mul_overflow(count, std::uint64_t(dim.value()), &count) && count < (1ULL << 56),
                "byte {}: a value has the impossible shape {}", message.place(), to_string(declared.type.shape));
  return count;
}

}  // namespace

Result<Bytes> WeightFiles::open(std::string_view name) {
  std::string_view last = name.substr(name.rfind('/') + 1);
  POM_REQUIRE(!last.empty() && last != "." && last != ".." && last.find('\0') == last.npos,
              "a value refers to the weight file '{}'", name);
  POM_REQUIRE(!folder_.empty(), "a value refers to the weight file '{}', but this model has none", name);
  auto at = files_.find(last);
  if (at == files_.end()) {
    std::string path = folder_ + "/" + std::string(last);
    at = files_.emplace(last, POM_TRY(map_file(path))).first;
  }
  return at->second;
}

Result<DeclaredType> read_value_type(Message message, const std::string& prefix, int depth) {
  POM_REQUIRE(depth < deepest_nesting, "byte {}: types are nested deeper than {}", message.place(), deepest_nesting);
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    Message contents = POM_TRY(field.message());
    switch (field.number) {
      case 1:
        return read_tensor_type(contents, prefix);
      case 2:
        return read_list_type(contents, prefix, depth);
      case 3:
        return read_tuple_type(contents, depth);
      case 4:
        return read_dictionary_type(contents, depth);
      case 5:
        return read_state_type(contents, prefix, depth);
    }
  }
  return fail("byte {}: a type is empty", message.place());
}

Result<Weight> read_value(Message message, WeightFiles& files, int depth) {
  POM_REQUIRE(depth < deepest_nesting, "byte {}: values are nested deeper than {}", message.place(), deepest_nesting);
  DeclaredType declared;
  bool typed = false;
  Message immediate, blob;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 2:
        declared = POM_TRY(read_value_type(POM_TRY(field.message())));
        typed = true;
        break;
      case 3:
        immediate = POM_TRY(field.message());
        break;
      case 5:
        blob = POM_TRY(field.message());
        break;
    }
  POM_REQUIRE(typed, "byte {}: a value has no type", message.place());
  std::uint64_t count = POM_TRY(known_count(declared, message));
  if (blob.origin) {
    // Inside lists every element is computed on the spot, so that a small file could ask for any amount of memory.
    POM_REQUIRE(depth == 0 && !declared.is_tuple && declared.type.kind == Type::Kind::tensor,
                "byte {}: only tensors outside lists may be in a weight file", message.place());
    return read_blob_value(blob, declared.type, files);
  }
  POM_REQUIRE(immediate.origin || count == 0, "byte {}: a value has no contents", message.place());
  if (!immediate.origin) immediate = {message.bytes.substr(0, 0), message.origin};
  return read_immediate(immediate, declared, count, files, depth);
}

Result<std::string> read_text_value(Message message, WeightFiles& files) {
  Tensor tensor = POM_TRY(POM_TRY(read_value(message, files)).materialise());
  POM_REQUIRE(!tensor.is_list() && tensor.dtype() == DType::string && tensor.count() == 1,
              "byte {}: a {} is given where a string is expected", message.place(), tensor.type().text());
  return tensor.text()[0];
}

Result<std::map<std::string, std::string>> read_text_dictionary(Message message, WeightFiles& files) {
  std::map<std::string, std::string> entries;
  WireField field, immediate, pair, part;
  for (WireReader value(message); POM_TRY(value.next(field));) {
    if (field.number != 3) continue;
    for (WireReader kinds(POM_TRY(field.message())); POM_TRY(kinds.next(immediate));) {
      if (immediate.number != 4) continue;
      for (WireReader pairs(POM_TRY(immediate.message())); POM_TRY(pairs.next(pair));) {
        if (pair.number != 1) continue;
        std::string key, text;
        for (WireReader parts(POM_TRY(pair.message())); POM_TRY(parts.next(part));)
          (part.number == 1 ? key : text) = POM_TRY(read_text_value(POM_TRY(part.message()), files));
        entries[key] = text;
      }
    }
  }
  return entries;
}

}  // namespace pomona::mlpackage
