#include "formats/mlpackage/manifest.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/bytes.h"

namespace pomona::mlpackage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string text_of(const json& object, const char* key) {
  auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// A reader of 1.0.0 knows no newer version.
Status check_version(const std::string& version) {
  unsigned major = 0, minor = 0, patch = 0;
  char rest = 0;
  int read = std::sscanf(version.c_str(), "%5u.%5u.%5u%c", &major, &minor, &patch, &rest);
  POM_REQUIRE(read == 3, "its fileFormatVersion is '{}'", version);
  POM_REQUIRE(major < 1 || (major == 1 && minor == 0 && patch == 0), "its fileFormatVersion is {}, newer than 1.0.0",
              version);
  return {};
}

Result<std::string> item_path(const std::string& package, const std::string& identifier, const json& item) {
  POM_REQUIRE(item.is_object(), "item '{}' is not an object", identifier);
  for (const char* key : {"path", "name", "author", "description"})
    POM_REQUIRE(item.contains(key) && item[key].is_string(), "item '{}' has no {}", identifier, key);
  fs::path relative(text_of(item, "path"));
  bool inside = !relative.empty() && relative.is_relative();
  for (const fs::path& part : relative) inside = inside && part != "..";
  POM_REQUIRE(inside, "item '{}' is at '{}', outside the package", identifier, relative.string());
  fs::path full = fs::path(package) / "Data" / relative;
  std::error_code error;
  POM_REQUIRE(fs::exists(full, error), "'{}' does not exist", full.string());
  return full.string();
}

}  // namespace

Result<PackageFiles> read_manifest(const std::string& path) {
  std::error_code error;
  std::string file = path + "/Manifest.json";
  POM_REQUIRE(fs::exists(file, error), "the directory '{}' has no Manifest.json", path);
  Bytes contents = POM_TRY(map_file(file));
  json manifest = json::parse(contents.text(), nullptr, false);
  POM_REQUIRE(manifest.is_object(), "Manifest.json is not a JSON object");
  POM_TRY_IN(check_version(text_of(manifest, "fileFormatVersion")), "Manifest.json");
  std::string root = text_of(manifest, "rootModelIdentifier");
  PackageFiles files;
  auto items = manifest.find("itemInfoEntries");
  if (items != manifest.end() && items->is_object())
    for (const auto& [identifier, item] : items->items()) {
      std::string full = POM_TRY_IN(item_path(path, identifier, item), "Manifest.json");
      if (identifier == root) files.model = full;
      if (text_of(item, "name") == weights_name && text_of(item, "author") == author) files.weights_folder = full;
    }
  POM_REQUIRE(!files.model.empty(), "Manifest.json has no item '{}', which it names as the model", root);
  return files;
}

std::string manifest_text(const std::string& content_hash) {
  // Version 8 of RFC 9562: contents of our own making.
  auto identifier = [&](char which) {
    const std::string& h = content_hash;
    return fmt::format("{}-{}-8{}-8{}-{}{}", h.substr(0, 8), h.substr(8, 4), h.substr(12, 3), h.substr(15, 3),
                       h.substr(18, 11), which);
  };
  auto item = [](const char* name, const char* description) {
    return json{
        {"author", author}, {"description", description}, {"name", name}, {"path", fmt::format("{}/{}", author, name)}};
  };
  json manifest;
  manifest["fileFormatVersion"] = "1.0.0";
  manifest["itemInfoEntries"] = {{identifier('0'), item(model_name, "CoreML Model Specification")},
                                 {identifier('1'), item(weights_name, "CoreML Model Weights")}};
  manifest["rootModelIdentifier"] = identifier('0');
  return manifest.dump(4) + "\n";
}

}  // namespace pomona::mlpackage
