#include "api/compute_plan.h"

#include <nlohmann/json.hpp>

#include "base/ascii.h"

namespace pomona::api {
namespace {

using Json = nlohmann::json;

// Backends have names of their own: "classic_cpu" and "bnns" are the processor, "mps_graph" is the GPU.
std::string device_named(std::string_view text) {
  std::string lower = ascii_lower(text);
  auto has = [&](std::string_view part) { return lower.find(part) != std::string::npos; };
  if (has("neural") || has("ane") || lower == "ne") return "Neural Engine";
  if (has("gpu") || has("mps") || has("metal")) return "GPU";
  if (has("cpu") || has("bnns")) return "CPU";
  return {};
}

void add_names(const Json& json, std::vector<std::string>& names) {
  if (json.is_string()) names.push_back(json.get<std::string>());
  if (json.is_object() && json.contains("name")) add_names(json["name"], names);
  if (json.is_array())
    for (const Json& each : json) add_names(each, names);
}

// The device that `json` says was chosen: a word, an object with a name or kind, or the key of a table's largest share.
std::string device_in(const Json& json) {
  if (json.is_string()) return device_named(json.get<std::string>());
  if (!json.is_object()) return {};
  for (const char* key : {"name", "type", "kind", "device"})
    if (json.contains(key)) return device_in(json[key]);
  return {};
}

void collect(const Json& json, std::vector<PlacedOperation>& found) {
  if (json.is_object()) {
    PlacedOperation operation;
    for (const char* key :
         {"preferred", "preferredDevice", "preferred_device", "preferredComputeDevice", "preferred_compute_device",
          "selectedDevice", "SelectedBackend", "selectedBackend", "computeUnit", "compute_unit", "device", "backend"})
      if (operation.device.empty() && json.contains(key)) operation.device = device_in(json[key]);
    for (const char* key :
         {"op", "name", "operationName", "operation_name", "layerName", "outputs", "outputName", "output"})
      if (json.contains(key)) add_names(json[key], operation.names);
    if (!operation.device.empty() && !operation.names.empty()) {
      found.push_back(std::move(operation));
      return;
    }
  }
  if (json.is_structured())
    for (const Json& each : json) collect(each, found);
}

// What stands between the quotes after `key` in `line`.
std::string quoted_after(std::string_view line, std::string_view key) {
  std::size_t at = line.find(key);
  std::size_t begin = at == line.npos ? at : line.find('"', at);
  std::size_t end = begin == line.npos ? begin : line.find('"', begin + 1);
  return end == line.npos ? std::string() : std::string(line.substr(begin + 1, end - begin - 1));
}

// "tensor<fp16, [1, 8]> y = relu(x = x)[name = string("r"), SelectedBackend = string("ane"), ...];"
void read_annotated(std::string_view line, std::vector<PlacedOperation>& found) {
  PlacedOperation operation{{}, device_named(quoted_after(line, "SelectedBackend"))};
  std::size_t equals = line.find(" = ");
  if (operation.device.empty() || equals == line.npos) return;
  std::string_view left = line.substr(0, equals);
  std::size_t space = left.rfind(' ');
  operation.names.emplace_back(left.substr(space == left.npos ? 0 : space + 1));
  if (std::string name = quoted_after(line, "name = "); !name.empty()) operation.names.push_back(std::move(name));
  found.push_back(std::move(operation));
}

// "0.68% G|C  y = ios16.gather(...)": the letter before the bar is the engine.
void read_listed(std::string_view line, std::vector<PlacedOperation>& found) {
  std::size_t percent = line.find("% "), equals = line.find(" = ");
  if (percent == line.npos || equals == line.npos || percent + 3 >= line.size() || line[percent + 3] != '|') return;
  std::string_view left = line.substr(0, equals);
  std::string_view names = left.substr(left.rfind(' ') + 1);
  char engine = line[percent + 2];
  found.push_back({{std::string(names)}, engine == 'N' ? "Neural Engine" : engine == 'G' ? "GPU" : "CPU"});
}

}  // namespace

std::vector<PlacedOperation> read_compute_plan(std::string_view text) {
  std::vector<PlacedOperation> found;
  if (Json json = Json::parse(text, nullptr, false); !json.is_discarded()) {
    collect(json, found);
    return found;
  }
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    read_annotated(line, found);
    read_listed(line, found);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return found;
}

}  // namespace pomona::api
