#include "llm/all_logits.h"

#include <nlohmann/json.hpp>

#include "ir/builder.h"
#include "ir/op.h"
#include "llm/language_model.h"

namespace pomona::llm {
namespace {

// What is computed from the logits' place alone: its casts.
Status take_out_pick(Value place) {
  std::vector<Node*> users = place.users();
  for (Node* user : users) {
    if (user->op->name == "cast") {
      POM_TRY(take_out_pick(user->output()));
    } else {
      POM_REQUIRE(user->op->name == "gather" && user->input("indices") == place, "'{}' is read by {}", place.name(),
                  user->label());
      replace_uses(user->output(), user->input("x"));
    }
    user->block()->erase(*user);
  }
  return {};
}

Status give_all_logits(Function& function) {
  Value last = function.body.input("last");
  if (!last) return {};
  POM_TRY(take_out_pick(last));
  function.body.remove_input(last.index());
  std::erase_if(function.inputs, [](const Feature& feature) { return feature.name == "last"; });
  for (auto& node : function.body.nodes()) POM_TRY(infer_again(*node));
  Dim tokens = function.body.input("input_ids").shape()[1];
  for (Value result : function.body.results()) {
    if (result.name() != "logits") continue;
    POM_REQUIRE(result.rank() == 3 && result.shape()[1] == tokens, "the logits would be {}", result.type().text());
    for (Feature& feature : function.outputs)
      if (feature.name == "logits") feature.has_shape = false, feature.ranges.clear();
  }
  return {};
}

}  // namespace

Status give_all_logits(Program& program) {
  for (auto& function : program.functions) POM_TRY_IN(give_all_logits(*function), "function '{}'", function->name);
  std::string& description = program.metadata.user[description_key];
  auto json = nlohmann::json::parse(description, nullptr, false);
  POM_REQUIRE(json.is_object(), "the metadata '{}' are no JSON object", description_key);
  json["all_logits"] = true;
  description = json.dump();
  return {};
}

}  // namespace pomona::llm
