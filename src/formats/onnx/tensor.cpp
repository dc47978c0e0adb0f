#include "formats/onnx/tensor.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

namespace pomona::onnx {
namespace {

// Constants up to this size are decoded at once: rules look into them, and small copies are aligned.
constexpr std::uint64_t small_size_bytes = 4096;

Result<std::uint64_t> decimal(Text text, const char* what) {
  std::uint64_t value = 0;
  auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value);
  POM_REQUIRE(bad == std::errc() && end == text.data() + text.size(), "the {} of external data is '{}', not a number",
              what, text);
  return value;
}

bool stays_inside(const std::filesystem::path& path) {
  if (path.empty() || path.is_absolute() || path.has_root_name()) return false;
  for (const auto& part : path)
    if (part == "..") return false;
  return true;
}

Result<std::uint64_t> count_of(const TensorProto& tensor) {
  std::uint64_t count = 1;
  for (std::int64_t size : tensor.dims)
    POM_REQUIRE(size >= 0 && !__builtin_mul_overflow(count, std::uint64_t(size), &count) && count < (1ULL << 48),
                "the sizes {} are impossible", to_string(tensor.dims));
  return count;
}

// The typed field that holds elements of this type, and bytes per element there (0: varints).
struct TypedField {
  const std::vector<Text>* chunks;
  std::size_t element_bytes;
};
TypedField typed_field(const TensorProto& t, Elem elem) {
  switch (elem) {
    case Elem::float32:
      return {&t.float_data, 4};
    case Elem::float64:
      return {&t.double_data, 8};
    case Elem::int64:
      return {&t.int64_data, 0};
    case Elem::uint32:
    case Elem::uint64:
      return {&t.uint64_data, 0};
    default:
      return {&t.int32_data, 0};
  }
}

std::size_t total_size(const std::vector<Text>& chunks) {
  std::size_t size = 0;
  for (Text chunk : chunks) size += chunk.size();
  return size;
}

// Varints to elements: the low bytes of each value. Two 4-bit elements share one varint's byte.
Result<Tensor> from_varints(const std::vector<Text>& chunks, DType dtype, const Sizes& sizes) {
  std::vector<std::int64_t> values = POM_TRY(varints_of(chunks));
  Tensor tensor(dtype, sizes);
  std::size_t count = tensor.count(), width = element_size_bytes(dtype);
  std::uint8_t* out = tensor.mutable_data();
  if (is_sub_byte(dtype)) {
    POM_REQUIRE(values.size() == (count + 1) / 2, "{} elements are stored, but {} are expected", values.size() * 2,
                count);
    for (std::size_t i = 0; i < count; ++i) {
      auto nibble = std::uint8_t(std::uint64_t(values[i / 2]) >> (i % 2 * 4) & 15);
      out[i] = info(dtype).is_signed && nibble > 7 ? std::uint8_t(nibble | 0xF0) : nibble;
    }
    return tensor;
  }
  POM_REQUIRE(values.size() == count, "{} elements are stored, but {} are expected", values.size(), count);
  for (std::size_t i = 0; i < count; ++i) {
    if (dtype == DType::boolean)
      out[i] = values[i] != 0;
    else
      std::memcpy(out + i * width, &values[i], width);
  }
  return tensor;
}

// Elements of a type that Core ML does not have, decoded.
Result<Weight> decoded_weight(const TensorProto& t, Elem elem, TensorFiles& files) {
  const ElemInfo& type = elem_info(elem);
  std::uint64_t count = POM_TRY(count_of(t)), wanted = (count * type.packed_bits + 7) / 8;
  std::string bytes;
  if (t.data_location == 1 || t.raw_data) {
    Bytes stored = t.data_location == 1 ? POM_TRY(files.external(t)) : files.inline_bytes(*t.raw_data);
    bytes.assign(reinterpret_cast<const char*>(stored.data()), stored.size());
  } else {
    for (std::int64_t value : POM_TRY(varints_of(t.int32_data))) bytes += char(value);
  }
  POM_REQUIRE(bytes.size() >= wanted, "{} bytes are stored, but {} {} need {}", bytes.size(), type.name,
              to_string(t.dims), wanted);
  Tensor tensor(type.stored, t.dims);
  tensor.mutable_data();
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t bit = i * type.packed_bits;
    unsigned bits = static_cast<unsigned char>(bytes[bit / 8]) >> bit % 8 & ((1u << type.packed_bits) - 1);
    tensor.set_number(i, unpacked(elem, bits));
  }
  return Weight(std::move(tensor));
}

Weight eager_when_small(Weight weight) {
  if (weight.in_memory() || weight.stored_size() > small_size_bytes) return weight;
  auto tensor = weight.materialise();
  if (!tensor) return weight;
  Tensor copy = *tensor;
  if (copy.dtype() != DType::string) copy.mutable_data();
  return copy;
}

Result<Weight> typed_weight(const TensorProto& t, Elem elem, TensorFiles& files) {
  TypedField field = typed_field(t, elem);
  DType dtype = elem_info(elem).stored;
  std::uint64_t count = POM_TRY(count_of(t));
  std::size_t available = total_size(*field.chunks);
  if (field.element_bytes) {
    std::uint64_t wanted = count * field.element_bytes;
    POM_REQUIRE(available == wanted, "{} bytes are stored, but {} {} need {}", available, name(dtype),
                to_string(t.dims), wanted);
    if (field.chunks->size() == 1) return Weight::stored(files.inline_bytes((*field.chunks)[0]), dtype, t.dims);
    std::string joined;
    for (Text chunk : *field.chunks) joined += chunk;
    return Weight::stored(Bytes::own(std::move(joined)), dtype, t.dims);
  }
  // A varint takes a byte or more, so the file's size bounds what is allocated.
  std::uint64_t fewest = is_sub_byte(dtype) ? (count + 1) / 2 : count;
  POM_REQUIRE(available >= fewest, "{} bytes are stored, too few for {} {}", available, name(dtype), to_string(t.dims));
  if (available <= small_size_bytes) return Weight(POM_TRY(from_varints(*field.chunks, dtype, t.dims)));
  // The owner keeps the mapping that the chunks point into.
  Bytes owner = files.inline_bytes(field.chunks->front());
  return Weight::derived({fmt::format("varints@{}+{}", static_cast<const void*>(owner.data()), available),
                          dtype,
                          t.dims,
                          {},
                          [owner, chunks = *field.chunks, dtype, sizes = t.dims](std::span<const Tensor>) {
                            return from_varints(chunks, dtype, sizes);
                          }});
}

// Integers as int32. What ends at the ends of int64's range means "no limit" and becomes int32's limit.
Result<Tensor> to_int32(const Tensor& from) {
  constexpr std::int64_t no_limit = std::int64_t(1) << 62;
  Tensor to(DType::int32, from.sizes());
  std::size_t count = from.count();
  auto* out = reinterpret_cast<std::int32_t*>(to.mutable_data());
  for (std::size_t i = 0; i < count; ++i) {
    std::int64_t value;
    if (from.dtype() == DType::int64) {
      std::memcpy(&value, from.data() + i * 8, 8);
    } else if (from.dtype() == DType::uint64) {
      std::uint64_t wide;
      std::memcpy(&wide, from.data() + i * 8, 8);
      value = wide > std::uint64_t(INT64_MAX) ? INT64_MAX : std::int64_t(wide);
    } else {
      value = std::int64_t(from.number(i));
    }
    if (value >= no_limit || (from.dtype() == DType::uint32 && value == UINT32_MAX)) value = INT32_MAX;
    if (value <= -no_limit) value = INT32_MIN;
    POM_REQUIRE(value >= INT32_MIN && value <= INT32_MAX, "the constant holds {}, but Core ML's integers have 32 bits",
                value);
    out[i] = std::int32_t(value);
  }
  return to;
}

// Hugging Face's cache has a model's files as links in REPOSITORY/snapshots/REVISION to REPOSITORY/blobs.
bool is_kept_download(const std::filesystem::path& folder, const std::filesystem::path& target) {
  std::filesystem::path kept = target.parent_path();
  return kept.filename() == "blobs" && stays_inside(folder.lexically_relative(kept.parent_path() / "snapshots"));
}

}  // namespace

Bytes TensorFiles::inline_bytes(Text view) const {
  return Bytes(model_.owner(), {reinterpret_cast<const std::uint8_t*>(view.data()), view.size()});
}

Result<Bytes> TensorFiles::external(const TensorProto& tensor) {
  Text location, offset_text = "0", length_text;
  for (std::size_t i = 0; i < tensor.external_keys.size(); ++i) {
    if (tensor.external_keys[i] == "location") location = tensor.external_values[i];
    if (tensor.external_keys[i] == "offset") offset_text = tensor.external_values[i];
    if (tensor.external_keys[i] == "length") length_text = tensor.external_values[i];
  }
  std::filesystem::path relative{std::string(location)};
  POM_REQUIRE(stays_inside(relative), "external data lies at '{}', outside the model's folder", location);
  std::uint64_t offset = POM_TRY(decimal(offset_text, "offset"));
  auto [at, fresh] = open_.try_emplace(std::string(location));
  if (fresh) {
    std::error_code code;
    std::filesystem::path folder(folder_.empty() ? "." : folder_);
    // Resolves symbolic links: a link may not lead out of the folder either, but to where downloads are kept.
    auto root = std::filesystem::weakly_canonical(folder, code);
    auto target = std::filesystem::weakly_canonical(folder / relative, code);
    auto inside = target.lexically_relative(root);
    if (code || !(stays_inside(inside) || is_kept_download(root, target))) {
      open_.erase(at);
      return fail("external data lies at '{}', outside the model's folder", location);
    }
    auto mapped = map_file((folder / relative).string());
    if (!mapped) {
      open_.erase(std::string(location));
      return std::move(mapped).error();
    }
    at->second = *std::move(mapped);
  }
  const Bytes& file = at->second;
  POM_REQUIRE(offset <= file.size(), "external data starts at byte {} of '{}', which has {} bytes", offset, location,
              file.size());
  std::uint64_t length = file.size() - offset;
  if (!length_text.empty()) length = POM_TRY(decimal(length_text, "length"));
  return POM_TRY_IN(file.slice(offset, length), "file '{}'", location);
}

Result<Elem> elem_of(const TensorProto& tensor) {
  const ElemInfo* info = find_elem(tensor.data_type);
  POM_REQUIRE(info, "tensors of {} are not supported", elem_name(tensor.data_type));
  return info->elem;
}

std::vector<std::string> strings_of(const TensorProto& tensor) {
  return {tensor.string_data.begin(), tensor.string_data.end()};
}

Result<Weight> stored_weight(const TensorProto& tensor, TensorFiles& files) {
  auto weight = [&]() -> Result<Weight> {
    Elem elem = POM_TRY(elem_of(tensor));
    DType dtype = elem_info(elem).stored;
    std::uint64_t count = POM_TRY(count_of(tensor));
    if (elem_info(elem).packed_bits) return decoded_weight(tensor, elem, files);
    if (elem == Elem::string) {
      POM_REQUIRE(tensor.string_data.size() == count, "{} strings are stored, but {} are expected",
                  tensor.string_data.size(), count);
      return Weight(Tensor::strings(tensor.dims, strings_of(tensor)));
    }
    if (tensor.data_location == 1 || tensor.raw_data) {
      Bytes bytes = tensor.data_location == 1 ? POM_TRY(files.external(tensor)) : files.inline_bytes(*tensor.raw_data);
      std::uint64_t wanted = stored_size_bytes(dtype, count);
      POM_REQUIRE(bytes.size() == wanted || (tensor.data_location == 1 && bytes.size() > wanted),
                  "{} bytes are stored, but {} {} need {}", bytes.size(), name(dtype), to_string(tensor.dims), wanted);
      return files.shared(POM_TRY(Weight::stored(bytes, dtype, tensor.dims)));
    }
    return typed_weight(tensor, elem, files);
  }();
  if (!weight) return std::move(weight).error().in(fmt::format("tensor '{}' at byte {}", tensor.name, tensor.offset));
  return eager_when_small(*std::move(weight));
}

Result<Weight> compute_weight(const Weight& stored, Elem elem) {
  DType dtype = elem_info(elem).compute;
  if (stored.dtype() == dtype) return stored;
  if (dtype != DType::int32) return eager_when_small(Weight::cast(stored, dtype));
  if (const Tensor* tensor = stored.in_memory()) return Weight(POM_TRY(to_int32(*tensor)));
  return Weight::derived(
      {"to int32", dtype, stored.sizes(), {stored}, [](std::span<const Tensor> in) -> Result<Tensor> {
         return to_int32(in[0]);
       }});
}

Result<TensorFile> read_tensor_file(const std::string& path) {
  Bytes file = POM_TRY_IN(map_file(path), "file '{}'", path);
  TensorProto proto = POM_TRY_IN(parse_tensor(file), "file '{}'", path);
  TensorFiles files(std::filesystem::path(path).parent_path().string(), file);
  Weight weight = POM_TRY_IN(stored_weight(proto, files), "file '{}'", path);
  Tensor tensor = POM_TRY_IN(weight.materialise(), "file '{}'", path);
  return TensorFile{std::string(proto.name), POM_TRY(elem_of(proto)), std::move(tensor)};
}

}  // namespace pomona::onnx
