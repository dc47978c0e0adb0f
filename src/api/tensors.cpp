#include "api/tensors.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "api/border.h"
#include "api/files.h"
#include "api/picture.h"
#include "formats/npy/npy.h"

namespace pomona::api {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Nested lists: their shape, and their numbers in order. Text where numbers belong is an error.
struct Nested {
  Sizes sizes;
  std::vector<double> numbers;
  bool integers = true, booleans = true;

  Status take(const Json& value, std::size_t depth) {
    if (!value.is_array()) {
      POM_REQUIRE(depth == sizes.size(), "the lists are nested unevenly");
      POM_REQUIRE(value.is_number() || value.is_boolean(), "'{}' is no number", value.dump());
      integers = integers && value.is_number_integer();
      booleans = booleans && value.is_boolean();
      numbers.push_back(value.is_boolean() ? double(value.get<bool>()) : value.get<double>());
      return {};
    }
    POM_REQUIRE(depth < sizes.size() && sizes[depth] == std::int64_t(value.size()), "the lists are nested unevenly");
    for (const Json& element : value) POM_TRY(take(element, depth + 1));
    return {};
  }
};

Result<Tensor> tensor_from_lists(const Json& value) {
  Nested nested;
  for (const Json* level = &value; level->is_array(); level = &(*level)[0]) {
    nested.sizes.push_back(std::int64_t(level->size()));
    if (level->empty()) break;
  }
  POM_TRY(nested.take(value, 0));
  DType dtype = nested.numbers.empty() ? DType::fp32
                : nested.booleans      ? DType::boolean
                : nested.integers      ? DType::int64
                                       : DType::fp32;
  return Tensor::from_numbers(dtype, nested.sizes, nested.numbers);
}

Result<Tensor> tensor_from_json(const Json& value) {
  if (!value.is_object()) return tensor_from_lists(value);
  for (const char* key : {"dtype", "shape", "data"}) POM_REQUIRE(value.contains(key), "'{}' is missing", key);
  POM_REQUIRE(value["dtype"].is_string(), "'dtype' is no text");
  auto dtype = source_dtype(value["dtype"].get<std::string>());
  POM_REQUIRE(dtype, "there is no dtype '{}'", value["dtype"].get<std::string>());
  Tensor shape = POM_TRY_IN(tensor_from_lists(value["shape"]), "'shape'");
  Tensor data = POM_TRY_IN(tensor_from_lists(value["data"]), "'data'");
  Sizes sizes = shape.integers();
  std::int64_t count = 1;
  for (std::int64_t size : sizes) {
    POM_REQUIRE(size >= 0 && (size == 0 || count <= std::int64_t(data.count()) / size + 1),
                "'shape' does not fit 'data'");
    count *= size;
  }
  POM_REQUIRE(count == std::int64_t(data.count()), "'data' has {} elements, not {}", data.count(), count);
  return Tensor::from_numbers(*dtype, sizes, data.numbers());
}

Result<NamedTensors> tensors_from_json(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  POM_REQUIRE(!json.is_discarded(), "it is no valid JSON");
  POM_REQUIRE(json.is_object(), "it is no JSON object of tensors by name");
  NamedTensors tensors;
  for (const auto& [name, value] : json.items())
    tensors[name] = POM_TRY_IN(tensor_from_json(value), "tensor '{}'", name);
  return tensors;
}

Json to_lists(const Tensor& tensor, std::size_t depth, std::size_t& next) {
  if (depth == tensor.rank()) {
    std::size_t i = next++;
    if (tensor.dtype() == DType::string) return tensor.text()[i];
    double value = tensor.number(i);
    if (tensor.dtype() == DType::boolean) return value != 0;
    if (is_integer(tensor.dtype())) return std::int64_t(value);
    return value;
  }
  Json list = Json::array();
  for (std::int64_t i = 0; i < tensor.sizes()[depth]; ++i) list.push_back(to_lists(tensor, depth + 1, next));
  return list;
}

Json to_json(const Tensor& tensor) {
  if (tensor.is_dictionary()) {
    Json object = Json::object();
    const Tensor &keys = tensor.elements()[0], &values = tensor.elements()[1];
    for (std::size_t i = 0; i < values.count(); ++i)
      object[keys.dtype() == DType::string ? keys.text()[i] : std::to_string(std::int64_t(keys.number(i)))] =
          values.number(i);
    return object;
  }
  if (tensor.is_list()) {
    Json list = Json::array();
    for (const Tensor& element : tensor.elements()) list.push_back(to_json(element));
    return list;
  }
  std::size_t next = 0;
  return to_lists(tensor, 0, next);
}

// A dictionary becomes two arrays, as NumPy's files hold nothing else.
NamedTensors as_arrays(const NamedTensors& tensors) {
  NamedTensors arrays;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.is_dictionary()) {
      arrays[name + ".keys"] = tensor.elements()[0];
      arrays[name + ".values"] = tensor.elements()[1];
    } else if (tensor.is_list()) {
      for (std::size_t i = 0; i < tensor.elements().size(); ++i)
        arrays[fmt::format("{}.{}", name, i)] = tensor.elements()[i];
    } else {
      bool foreign =
          tensor.dtype() == DType::bf16 || tensor.dtype() == DType::f8e4m3fn || tensor.dtype() == DType::f8e5m2;
      arrays[name] = foreign ? tensor.converted(DType::fp32) : tensor;
    }
  }
  return arrays;
}

// "name=path", where the name is one of an input or output; a path may hold '=' as well.
std::pair<std::string, std::string> split_place(const std::string& place) {
  std::size_t equals = place.find('=');
  std::error_code ignored;
  if (equals == place.npos || fs::exists(place, ignored)) return {"", place};
  return {place.substr(0, equals), place.substr(equals + 1)};
}

Result<std::string> only_input(const Function& function) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < function.body.input_count(); ++i)
    if (function.body.input(i).type().kind != Type::Kind::state) names.push_back(function.body.input(i).name());
  POM_REQUIRE(names.size() == 1, "the model has {} inputs: say which one by name=file", names.size());
  return names[0];
}

Result<Tensor> picture_for(const Bytes& bytes, const std::string& input, const Program& program,
                           const Function& function) {
  for (const Feature& feature : function.inputs) {
    if (feature.name != input && source_name(program, true, feature.name) != input) continue;
    POM_REQUIRE(feature.kind == Feature::Kind::image, "input '{}' takes no picture but an array", input);
    return read_picture(bytes, feature, function.body.input(feature.name).dtype());
  }
  return fail("the model has no input '{}'", input);
}

Status write_one(const std::string& path, const std::string& name, const Tensor& tensor,
                 const std::vector<Feature>& features, bool force) {
  std::string extension = fs::path(path).extension().string();
  if (extension == ".png") {
    const Feature* feature = find_feature(features, name);
    POM_REQUIRE(feature && feature->kind == Feature::Kind::image, "output '{}' is no picture", name);
    return write_whole_file(path, POM_TRY(picture_contents(tensor, *feature)), force);
  }
  if (extension == ".json") return write_whole_file(path, Json{{name, to_json(tensor)}}.dump() + "\n", force);
  NamedTensors arrays = as_arrays({{name, tensor}});
  if (extension == ".npz") return write_whole_file(path, POM_TRY(npy::npz_contents(arrays)), force);
  POM_REQUIRE(extension == ".npy", "'{}' is neither .npz, .npy, .json nor .png", path);
  POM_REQUIRE(arrays.size() == 1, "'{}' is no single array; write it to an .npz", name);
  return write_whole_file(path, POM_TRY(npy::npy_contents(arrays.begin()->second)), force);
}

// Names may hold what a file name may not, and be longer than one may be: those end in a number of their own.
std::string file_name(std::string name) {
  constexpr std::size_t longest = 200;
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001b3;
  for (char& c : name)
    if (c == '/' || c == '\\' || c == ':') c = '_';
  if (name.size() <= longest) return name;
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;  // no half of a character
  return fmt::format("{}_{:016x}", name.substr(0, end), hash);
}

}  // namespace

Result<NamedTensors> read_tensor_file(const std::string& path) {
  Bytes bytes = POM_TRY(map_file(path));
  if (bytes.text().starts_with("PK")) return POM_TRY_IN(npy::read_npz(bytes), "file '{}'", path);
  if (bytes.text().starts_with("\x93NUMPY"))
    return NamedTensors{{fs::path(path).stem().string(), POM_TRY_IN(npy::read_npy(bytes), "file '{}'", path)}};
  std::size_t first = bytes.text().find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && bytes.text()[first] == '{')
    return POM_TRY_IN(tensors_from_json(bytes.text()), "file '{}'", path);
  return fail("'{}' is neither .npz, .npy nor .json", path);
}

Result<NamedTensors> read_tensors(const std::vector<std::string>& places, const Program& program,
                                  const Function& function) {
  NamedTensors all;
  for (const std::string& place : places) {
    auto [name, path] = split_place(place);
    Bytes bytes = POM_TRY(map_file(path));
    if (is_png(bytes)) {
      if (name.empty()) name = POM_TRY(only_input(function));
      all[name] = POM_TRY_IN(picture_for(bytes, name, program, function), "file '{}'", path);
      continue;
    }
    NamedTensors found = POM_TRY(read_tensor_file(path));
    if (name.empty() && bytes.text().starts_with("\x93NUMPY")) name = POM_TRY(only_input(function));
    if (!name.empty()) {
      POM_REQUIRE(found.size() == 1, "'{}' holds {} tensors, but one is wanted for '{}'", path, found.size(), name);
      all[name] = std::move(found.begin()->second);
      continue;
    }
    for (auto& [key, tensor] : found) all[key] = std::move(tensor);
  }
  return all;
}

Status check_place(const std::string& place, bool force) {
  std::string path = split_place(place).second;
  // A folder is made, with the folders above it.
  return fs::path(path).has_extension() ? check_output(path, force) : Status();
}

Status write_tensors(const std::string& place, const NamedTensors& tensors, const std::vector<Feature>& features,
                     bool force) {
  auto [name, path] = split_place(place);
  if (!name.empty()) {
    auto found = tensors.find(name);
    POM_REQUIRE(found != tensors.end(), "there is no output '{}'", name);
    return write_one(path, name, found->second, features, force);
  }
  std::string extension = fs::path(path).extension().string();
  if (extension == ".npz") return write_whole_file(path, POM_TRY(npy::npz_contents(as_arrays(tensors))), force);
  if (extension == ".json") {
    Json json = Json::object();
    for (const auto& [key, tensor] : tensors) json[key] = to_json(tensor);
    return write_whole_file(path, json.dump() + "\n", force);
  }
  if (!extension.empty()) {
    POM_REQUIRE(tensors.size() == 1, "there are {} outputs: write them to an .npz or into a folder", tensors.size());
    return write_one(path, tensors.begin()->first, tensors.begin()->second, features, force);
  }
  POM_TRY(make_folder(path));
  for (const auto& [key, tensor] : tensors) {
    const Feature* feature = find_feature(features, key);
    bool picture = feature && feature->kind == Feature::Kind::image;
    std::string ending = picture ? ".png" : tensor.is_dictionary() || tensor.is_list() ? ".json" : ".npy";
    POM_TRY(write_one((fs::path(path) / (file_name(key) + ending)).string(), key, tensor, features, force));
  }
  return {};
}

}  // namespace pomona::api
