#include <nlohmann/json.hpp>

#include "llm/tokenizers/parts.h"

namespace pomona::llm {
namespace {

Result<Enclosure> of_template(const Json& json) {
  Enclosure result;
  const Json special = json.value("special_tokens", Json::object());
  bool seen = false;
  for (const Json& piece : json.value("single", Json::array())) {
    if (piece.contains("Sequence")) {
      POM_REQUIRE(!seen, "the post-processor TemplateProcessing has the text twice");
      seen = true;
      continue;
    }
    std::string name = piece.contains("SpecialToken") ? text_field(piece["SpecialToken"], "id") : "";
    POM_REQUIRE(special.contains(name) && special[name].contains("ids") && special[name]["ids"].is_array(),
                "the post-processor TemplateProcessing has the token '{}', and no ids of it", name);
    for (const Json& id : special[name]["ids"]) {
      POM_REQUIRE(id.is_number_integer(), "an id of '{}' is no integer", name);
      (seen ? result.after : result.before).push_back(id.get<int>());
    }
  }
  return result;
}

// ["[CLS]", 101]
Result<int> id_of_pair(const Json& json, const char* key) {
  POM_REQUIRE(json.contains(key) && json[key].is_array() && json[key].size() == 2 && json[key][1].is_number_integer(),
              "the post-processor's '{}' is no pair of token and id", key);
  return json[key][1].get<int>();
}

}  // namespace

Result<Enclosure> post_processor_of(const Json& json) {
  if (json.is_null()) return Enclosure{};
  std::string kind = text_field(json, "type");
  if (kind == "TemplateProcessing") return of_template(json);
  if (kind == "BertProcessing" || kind == "RobertaProcessing")
    return Enclosure{{POM_TRY(id_of_pair(json, "cls"))}, {POM_TRY(id_of_pair(json, "sep"))}};
  if (kind == "ByteLevel") return Enclosure{};  // it moves offsets only
  if (kind == "Sequence") {
    Enclosure all;
    for (const Json& part : json.value("processors", Json::array())) {
      Enclosure one = POM_TRY(post_processor_of(part));
      all.before.insert(all.before.begin(), one.before.begin(), one.before.end());
      all.after.insert(all.after.end(), one.after.begin(), one.after.end());
    }
    return all;
  }
  return fail("the post-processor '{}' is not known", kind);
}

}  // namespace pomona::llm
