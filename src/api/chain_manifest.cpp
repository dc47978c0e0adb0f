#include "api/chain_manifest.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "formats/mlpackage/package.h"

namespace pomona::api {
namespace {

using Json = nlohmann::ordered_json;
constexpr int version = 1;

}  // namespace

std::string chain_manifest(const rewrite::Chain& chain, const Metadata& metadata,
                           const std::vector<std::string>& packages) {
  Json json{{"chain", version}, {"parts", Json::array()}, {"functions", Json::array()}};
  for (std::size_t i = 0; i < packages.size(); ++i)
    json["parts"].push_back({{"package", packages[i]}, {"weight_bytes", chain.weight_bytes[i]}});
  for (const rewrite::ChainBorder& border : chain.borders)
    json["functions"].push_back(
        {{"name", border.function}, {"inputs", border.inputs}, {"outputs", border.outputs}, {"states", border.states}});
  json["default_function"] = chain.default_function;
  json["metadata"] = {{"author", metadata.author},
                      {"license", metadata.license},
                      {"version", metadata.version},
                      {"description", metadata.description},
                      {"user", metadata.user}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Program> read_chain_folder(const std::string& folder) {
  namespace fs = std::filesystem;
  std::string path = (fs::path(folder) / chain_manifest_name).string();
  Bytes bytes = POM_TRY(map_file(path));
  Json json = Json::parse(bytes.text(), nullptr, false);
  POM_REQUIRE(json.is_object(), "'{}' is no JSON object", path);
  try {
    POM_REQUIRE(json.at("chain").get<int>() == version, "'{}' is of version {}, and {} is known", path,
                json.at("chain").get<int>(), version);
    rewrite::Chain chain;
    for (const Json& part : json.at("parts")) {
      std::string name = part.at("package");
      POM_REQUIRE(fs::path(name).filename() == name, "'{}' names a part '{}', which is not in its folder", path, name);
      chain.parts.push_back(POM_TRY_IN(mlpackage::read_package((fs::path(folder) / name).string()), "part '{}'", name));
    }
    for (const Json& each : json.at("functions"))
      chain.borders.push_back({each.at("name"), each.at("inputs").get<std::vector<std::string>>(),
                               each.at("outputs").get<std::vector<std::string>>(),
                               each.at("states").get<std::vector<std::string>>()});
    chain.default_function = json.at("default_function");
    Program whole = POM_TRY_IN(rewrite::join_chain(chain), "chain '{}'", folder);
    const Json& metadata = json.at("metadata");
    whole.metadata.author = metadata.at("author");
    whole.metadata.license = metadata.at("license");
    whole.metadata.version = metadata.at("version");
    whole.metadata.description = metadata.at("description");
    whole.metadata.user = metadata.at("user").get<std::map<std::string, std::string>>();
    return whole;
  } catch (const Json::exception& e) {
    return fail("'{}' is not as it was written: {}", path, e.what());
  }
}

}  // namespace pomona::api
