#include "formats/safetensors/safetensors.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

namespace pomona::safetensors {
namespace {

using Json = nlohmann::json;

// As the reference implementation has it.
constexpr std::uint64_t largest_header = 100'000'000;

struct Name {
  std::string_view stored;
  DType dtype;
};
constexpr Name names[] = {
    {"BOOL", DType::boolean}, {"U8", DType::uint8},         {"I8", DType::int8},        {"I16", DType::int16},
    {"U16", DType::uint16},   {"F16", DType::fp16},         {"BF16", DType::bf16},      {"I32", DType::int32},
    {"U32", DType::uint32},   {"F32", DType::fp32},         {"F64", DType::fp64},       {"I64", DType::int64},
    {"U64", DType::uint64},   {"F8_E4M3", DType::f8e4m3fn}, {"F8_E5M2", DType::f8e5m2}, {"F8_E8M0", DType::uint8},
};

Result<DType> dtype_of(const std::string& stored) {
  for (const Name& name : names)
    if (name.stored == stored) return name.dtype;
  return fail("its dtype '{}' is unknown", stored);
}

Result<std::uint64_t> whole_number(const Json& json, const char* what) {
  POM_REQUIRE(json.is_number_unsigned(), "{} is {}, not a whole number", what, json.dump());
  return json.get<std::uint64_t>();
}

Result<Sizes> sizes_of(const Json& entry) {
  POM_REQUIRE(entry.contains("shape") && entry["shape"].is_array(), "it has no shape");
  Sizes sizes;
  std::uint64_t count = 1;
  for (const Json& each : entry["shape"]) {
    std::uint64_t size = POM_TRY(whole_number(each, "a size"));
    POM_REQUIRE(!__builtin_mul_overflow(count, std::max<std::uint64_t>(size, 1), &count) && count < 1ULL << 56,
                "the shape {} is impossible", entry["shape"].dump());
    sizes.push_back(std::int64_t(size));
  }
  return sizes;
}

struct Range {
  std::uint64_t begin, end;
  std::string name;
};

Result<Entry> entry_of(const Json& json, const Bytes& data, Range& range) {
  POM_REQUIRE(json.is_object(), "it is {}, not an object", json.dump().substr(0, 80));
  POM_REQUIRE(json.contains("dtype") && json["dtype"].is_string(), "it has no dtype");
  Entry entry;
  entry.stored = json["dtype"].get<std::string>();
  entry.dtype = POM_TRY(dtype_of(entry.stored));
  entry.sizes = POM_TRY(sizes_of(json));
  POM_REQUIRE(json.contains("data_offsets") && json["data_offsets"].is_array() && json["data_offsets"].size() == 2,
              "it has no data_offsets");
  range.begin = POM_TRY(whole_number(json["data_offsets"][0], "where its data begin"));
  range.end = POM_TRY(whole_number(json["data_offsets"][1], "where its data end"));
  POM_REQUIRE(range.begin <= range.end, "its data end at {}, before they begin at {}", range.end, range.begin);
  std::uint64_t wanted = stored_size_bytes(entry.dtype, std::uint64_t(element_count(entry.sizes)));
  POM_REQUIRE(range.end - range.begin == wanted, "{} {} are {} bytes, but it has {}", entry.stored,
              to_string(entry.sizes), wanted, range.end - range.begin);
  entry.bytes = POM_TRY(data.slice(range.begin, wanted));
  return entry;
}

Status check_apart(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < ranges.size(); ++i)
    POM_REQUIRE(ranges[i - 1].end <= ranges[i].begin, "the data of '{}' and '{}' overlap", ranges[i - 1].name,
                ranges[i].name);
  return {};
}

}  // namespace

Result<File> parse_safetensors(const Bytes& bytes) {
  POM_REQUIRE(bytes.size() >= 8, "a safetensors file has at least 8 bytes, this one {}", bytes.size());
  std::uint64_t size = 0;
  std::memcpy(&size, bytes.data(), 8);
  POM_REQUIRE(size <= bytes.size() - 8, "the header claims {} bytes, but {} follow", size, bytes.size() - 8);
  POM_REQUIRE(size <= largest_header, "the header claims {} bytes; {} is the most", size, largest_header);
  Bytes data = POM_TRY(bytes.slice(8 + size, bytes.size() - 8 - size));
  Json header = Json::parse(bytes.text().substr(8, std::size_t(size)), nullptr, false);
  POM_REQUIRE(header.is_object(), "the header is no JSON object");
  File file;
  std::vector<Range> ranges;
  for (const auto& [name, json] : header.items()) {
    if (name == "__metadata__") {
      POM_REQUIRE(json.is_object(), "__metadata__ is no JSON object");
      for (const auto& [key, value] : json.items())
        if (value.is_string()) file.metadata[key] = value.get<std::string>();
      continue;
    }
    Range range{0, 0, name};
    file.tensors[name] = POM_TRY_IN(entry_of(json, data, range), "tensor '{}'", name);
    if (range.begin < range.end) ranges.push_back(std::move(range));
  }
  POM_TRY(check_apart(std::move(ranges)));
  return file;
}

Result<File> read_safetensors(const std::string& path) {
  return POM_TRY_IN(parse_safetensors(POM_TRY(map_file(path))), "file '{}'", path);
}

Result<File> read_sharded(const std::string& index_path) {
  Bytes text = POM_TRY(map_file(index_path));
  Json index = Json::parse(text.text(), nullptr, false);
  POM_REQUIRE(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
              "'{}' has no weight_map", index_path);
  std::set<std::string> shards;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    POM_REQUIRE(shard.is_string(), "'{}' does not say which file has '{}'", index_path, name);
    std::string file = shard.get<std::string>();
    POM_REQUIRE(!file.empty() && file.find('/') == file.npos && file != "..",
                "'{}' names a file '{}' that is not beside it", index_path, file);
    shards.insert(file);
  }
  File whole;
  for (const std::string& shard : shards) {
    File part = POM_TRY(read_safetensors((std::filesystem::path(index_path).parent_path() / shard).string()));
    for (auto& [name, entry] : part.tensors)
      POM_REQUIRE(whole.tensors.emplace(name, std::move(entry)).second, "two files have a tensor '{}'", name);
    whole.metadata.merge(part.metadata);
  }
  for (const auto& [name, shard] : index["weight_map"].items())
    POM_REQUIRE(whole.tensors.count(name), "'{}' promises a tensor '{}', which '{}' does not have", index_path, name,
                shard.get<std::string>());
  return whole;
}

}  // namespace pomona::safetensors
