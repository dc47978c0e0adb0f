#include "formats/gguf/gguf.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "formats/gguf/blocks.h"

namespace pomona::gguf {
namespace {

// Numbers of the types of metadata, as the specification lists them.
enum ValueType : std::uint32_t {
  uint8 = 0,
  int8 = 1,
  uint16 = 2,
  int16 = 3,
  uint32 = 4,
  int32 = 5,
  float32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  uint64 = 10,
  int64 = 11,
  float64 = 12,
};

constexpr std::uint64_t smallest_alignment = 1, default_alignment = 32, largest_alignment = 1 << 20;
constexpr int deepest_array = 4;
constexpr std::uint32_t most_dimensions = 8;

unsigned width_of(std::uint32_t type) {
  switch (type) {
    case uint8:
    case int8:
    case boolean:
      return 1;
    case uint16:
    case int16:
      return 2;
    case uint32:
    case int32:
    case float32:
      return 4;
    case uint64:
    case int64:
    case float64:
      return 8;
    default:
      return 0;
  }
}

template <class T>
T from_bytes(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// Unsigned numbers beyond 2^63 (hashes, if anything) keep their bits.
std::int64_t integer_at(const std::uint8_t* at, std::uint32_t type) {
  switch (type) {
    case uint8:
      return *at;
    case int8:
      return std::int8_t(*at);
    case uint16:
      return from_bytes<std::uint16_t>(at);
    case int16:
      return from_bytes<std::int16_t>(at);
    case uint32:
      return from_bytes<std::uint32_t>(at);
    case int32:
      return from_bytes<std::int32_t>(at);
    default:
      return from_bytes<std::int64_t>(at);
  }
}

class Reader {
 public:
  explicit Reader(const Bytes& bytes) : bytes_(bytes) {}

  std::size_t at() const { return at_; }
  std::uint64_t left() const { return bytes_.size() - at_; }

  Result<const std::uint8_t*> take(std::uint64_t size, const char* what) {
    POM_REQUIRE(size <= left(), "the file ends within {}, at byte {}", what, bytes_.size());
    const std::uint8_t* begin = bytes_.data() + at_;
    at_ += std::size_t(size);
    return begin;
  }
  Result<std::uint32_t> number32(const char* what) { return from_bytes<std::uint32_t>(POM_TRY(take(4, what))); }
  Result<std::uint64_t> number64(const char* what) { return from_bytes<std::uint64_t>(POM_TRY(take(8, what))); }
  Result<std::string_view> text(const char* what) {
    std::uint64_t size = POM_TRY(number64(what));
    return std::string_view(reinterpret_cast<const char*>(POM_TRY(take(size, what))), std::size_t(size));
  }

  Result<Value> value(std::uint32_t type) {
    if (type == string) return Value{POM_TRY(text("a text"))};
    if (type == array) return POM_TRY(array_value(0));
    unsigned width = width_of(type);
    POM_REQUIRE(width, "type {} of metadata is unknown", type);
    const std::uint8_t* begin = POM_TRY(take(width, "a number"));
    if (type == boolean) return Value{*begin != 0};
    if (type == float32) return Value{double(from_bytes<float>(begin))};
    if (type == float64) return Value{from_bytes<double>(begin)};
    return Value{integer_at(begin, type)};
  }

 private:
  Result<Value> array_value(int depth) {
    std::uint32_t type = POM_TRY(number32("an array"));
    std::uint64_t count = POM_TRY(number64("an array"));
    if (type == string) return strings(count);
    if (type == array) return arrays(count, depth);
    unsigned width = width_of(type);
    POM_REQUIRE(width, "type {} of an array's elements is unknown", type);
    POM_REQUIRE(count <= left() / width, "an array claims {} numbers, but {} bytes are left", count, left());
    return numbers(POM_TRY(take(count * width, "an array")), std::size_t(count), type, width);
  }

  Result<Value> strings(std::uint64_t count) {
    POM_REQUIRE(count <= left() / 8, "an array claims {} texts, but {} bytes are left", count, left());
    std::vector<std::string_view> texts;
    texts.reserve(std::size_t(count));
    for (std::uint64_t i = 0; i < count; ++i) texts.push_back(POM_TRY(text("an array's text")));
    return Value{std::move(texts)};
  }

  Result<Value> arrays(std::uint64_t count, int depth) {
    POM_REQUIRE(depth < deepest_array, "arrays are nested more than {} deep", deepest_array);
    POM_REQUIRE(count <= left() / 12, "an array claims {} arrays, but {} bytes are left", count, left());
    std::vector<Value> values;
    for (std::uint64_t i = 0; i < count; ++i) values.push_back(POM_TRY(array_value(depth + 1)));
    return Value{std::move(values)};
  }

  static Value numbers(const std::uint8_t* begin, std::size_t count, std::uint32_t type, unsigned width) {
    if (type == boolean) return Value{std::vector<bool>(begin, begin + count)};
    if (type == float32 || type == float64) {
      std::vector<double> values(count);
      for (std::size_t i = 0; i < count; ++i, begin += width)
        values[i] = type == float32 ? double(from_bytes<float>(begin)) : from_bytes<double>(begin);
      return Value{std::move(values)};
    }
    std::vector<std::int64_t> values(count);
    for (std::size_t i = 0; i < count; ++i, begin += width) values[i] = integer_at(begin, type);
    return Value{std::move(values)};
  }

  Bytes bytes_;
  std::size_t at_ = 0;
};

struct Placed {
  TensorEntry entry;
  std::uint64_t offset = 0, size = 0;
};

Result<std::uint64_t> tensor_size(const TensorEntry& tensor) {
  std::uint64_t count = 1;
  for (std::int64_t size : tensor.sizes)
    POM_REQUIRE(!__builtin_mul_overflow(count, std::uint64_t(size), &count) && count < 1ULL << 56,
                "the sizes {} are impossible", to_string(tensor.sizes));
  std::uint64_t row = std::uint64_t(tensor.sizes.back()), elements = tensor.type->elements;
  POM_REQUIRE(row % elements == 0, "its rows have {} elements, but {} comes in blocks of {}", row, tensor.type->name,
              elements);
  std::uint64_t size = 0;
  POM_REQUIRE(!__builtin_mul_overflow(count / elements, std::uint64_t(tensor.type->bytes), &size),
              "the sizes {} are impossible", to_string(tensor.sizes));
  return size;
}

Result<Placed> tensor_entry(Reader& reader) {
  Placed placed;
  placed.entry.name = POM_TRY(reader.text("a tensor's name"));
  auto rest = [&]() -> Status {
    std::uint32_t rank = POM_TRY(reader.number32("a tensor's sizes"));
    POM_REQUIRE(rank <= most_dimensions, "it has {} dimensions", rank);
    for (std::uint32_t d = 0; d < rank; ++d) {
      std::uint64_t size = POM_TRY(reader.number64("a tensor's sizes"));
      POM_REQUIRE(size < 1ULL << 56, "one of its sizes is {}", size);
      placed.entry.sizes.insert(placed.entry.sizes.begin(), std::int64_t(size));
    }
    if (rank == 0) placed.entry.sizes = {1};
    placed.entry.type = POM_TRY(block_type(POM_TRY(reader.number32("a tensor's type"))));
    placed.offset = POM_TRY(reader.number64("a tensor's offset"));
    placed.size = POM_TRY(tensor_size(placed.entry));
    return {};
  };
  POM_TRY_IN(rest(), "tensor '{}'", placed.entry.name);
  return placed;
}

Status check_version(std::uint32_t version) {
  POM_REQUIRE((version & 0xFFFF) != 0 || version == 0,
              "this GGUF file is big-endian; only little-endian ones are read");
  POM_REQUIRE(version != 1, "this GGUF file is of version 1, which was replaced by version 2 in 2023");
  POM_REQUIRE(version == 2 || version == 3, "version {} of GGUF is unknown; 2 and 3 are read", version);
  return {};
}

Result<std::uint64_t> alignment_of(const File& file) {
  auto alignment = file.integer("general.alignment").value_or(std::int64_t(default_alignment));
  POM_REQUIRE(alignment >= std::int64_t(smallest_alignment) && alignment <= std::int64_t(largest_alignment),
              "the alignment is {}", alignment);
  return std::uint64_t(alignment);
}

// "model-00002-of-00005.gguf" without the numbers, when the name ends so.
std::optional<std::string> split_prefix(const std::string& path) {
  constexpr std::string_view pattern = "-00000-of-00000.gguf";
  if (path.size() <= pattern.size()) return {};
  std::string_view tail = std::string_view(path).substr(path.size() - pattern.size());
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    bool fits = pattern[i] == '0' ? tail[i] >= '0' && tail[i] <= '9' : tail[i] == pattern[i];
    if (!fits) return {};
  }
  return path.substr(0, path.size() - pattern.size());
}

Result<File> joined(const std::string& path, File given, std::int64_t count) {
  POM_REQUIRE(count <= 99999, "the file claims to be one of {} parts", count);
  auto prefix = split_prefix(path);
  POM_REQUIRE(prefix,
              "the file is one of {} parts, but its name does not end in -0000N-of-{:05}.gguf, so the others "
              "cannot be found",
              count, count);
  File whole;
  for (std::int64_t i = 0; i < count; ++i) {
    std::string name = fmt::format("{}-{:05}-of-{:05}.gguf", *prefix, i + 1, count);
    File part = name == path ? std::move(given) : POM_TRY_IN(parse_gguf(POM_TRY(map_file(name))), "file '{}'", name);
    POM_REQUIRE(part.integer("split.count") == count && part.integer("split.no") == i,
                "'{}' says that it is part {} of {}", name, part.integer("split.no").value_or(-1) + 1,
                part.integer("split.count").value_or(1));
    if (i == 0) {
      whole = std::move(part);
      continue;
    }
    std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(whole.tensors));
    std::move(part.parts.begin(), part.parts.end(), std::back_inserter(whole.parts));
  }
  std::set<std::string_view> names;
  for (const TensorEntry& tensor : whole.tensors)
    POM_REQUIRE(names.insert(tensor.name).second, "two parts have a tensor '{}'", tensor.name);
  auto wanted = whole.integer("split.tensors.count");
  POM_REQUIRE(!wanted || *wanted == std::int64_t(whole.tensors.size()), "the {} parts have {} tensors together, not {}",
              count, whole.tensors.size(), *wanted);
  return whole;
}

template <class T>
const T* held(const File& file, std::string_view key) {
  auto found = file.metadata.find(key);
  return found == file.metadata.end() ? nullptr : std::get_if<T>(&found->second.held);
}
template <class T>
std::optional<T> copied(const T* value) {
  return value ? std::optional<T>(*value) : std::nullopt;
}

}  // namespace

Result<File> parse_gguf(const Bytes& bytes) {
  POM_REQUIRE(bytes.text().starts_with("GGUF"), "this is not a GGUF file: it does not begin with 'GGUF'");
  Reader reader(bytes);
  POM_TRY(reader.take(4, "the header"));
  File file;
  file.parts = {bytes};
  file.version = POM_TRY(reader.number32("the header"));
  POM_TRY(check_version(file.version));
  std::uint64_t tensors = POM_TRY(reader.number64("the header")), keys = POM_TRY(reader.number64("the header"));
  for (std::uint64_t i = 0; i < keys; ++i) {
    std::string key(POM_TRY_IN(reader.text("a key"), "entry {} of the metadata", i));
    std::uint32_t type = POM_TRY_IN(reader.number32("a value's type"), "metadata '{}'", key);
    Value value = POM_TRY_IN(reader.value(type), "metadata '{}'", key);
    POM_REQUIRE(file.metadata.emplace(key, std::move(value)).second, "the metadata have the key '{}' twice", key);
  }
  std::vector<Placed> placed;
  std::set<std::string> names;
  for (std::uint64_t i = 0; i < tensors; ++i) {
    placed.push_back(POM_TRY_IN(tensor_entry(reader), "entry {} of the tensors", i));
    const std::string& name = placed.back().entry.name;
    POM_REQUIRE(names.insert(name).second, "two tensors are called '{}'", name);
  }
  std::uint64_t alignment = POM_TRY(alignment_of(file));
  std::uint64_t begin = (reader.at() + alignment - 1) / alignment * alignment;
  for (Placed& each : placed) {
    std::uint64_t offset = 0;
    POM_REQUIRE(!__builtin_add_overflow(begin, each.offset, &offset), "tensor '{}' begins at {}", each.entry.name,
                each.offset);
    each.entry.bytes = POM_TRY_IN(bytes.slice(offset, each.size), "tensor '{}'", each.entry.name);
    file.tensors.push_back(std::move(each.entry));
  }
  return file;
}

Result<File> read_gguf(const std::string& path) {
  File file = POM_TRY_IN(parse_gguf(POM_TRY(map_file(path))), "file '{}'", path);
  std::int64_t count = file.integer("split.count").value_or(1);
  if (count <= 1) return file;
  return POM_TRY_IN(joined(path, std::move(file), count), "file '{}'", path);
}

std::optional<std::int64_t> File::integer(std::string_view key) const { return copied(held<std::int64_t>(*this, key)); }
std::optional<double> File::number(std::string_view key) const {
  if (auto whole = integer(key)) return double(*whole);
  return copied(held<double>(*this, key));
}
std::optional<bool> File::boolean(std::string_view key) const { return copied(held<bool>(*this, key)); }
std::optional<std::string_view> File::text(std::string_view key) const {
  return copied(held<std::string_view>(*this, key));
}
const std::vector<std::string_view>* File::strings(std::string_view key) const {
  return held<std::vector<std::string_view>>(*this, key);
}
const std::vector<std::int64_t>* File::integers(std::string_view key) const {
  return held<std::vector<std::int64_t>>(*this, key);
}
const std::vector<double>* File::numbers(std::string_view key) const { return held<std::vector<double>>(*this, key); }
const std::vector<bool>* File::booleans(std::string_view key) const { return held<std::vector<bool>>(*this, key); }
const TensorEntry* File::tensor(std::string_view name) const {
  auto found = std::find_if(tensors.begin(), tensors.end(), [&](const TensorEntry& t) { return t.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

}  // namespace pomona::gguf
