#include "api/plan_json.h"

#include <nlohmann/json.hpp>

#include "ir/op.h"
#include "report/plan_page.h"

namespace pomona::api {

using Json = nlohmann::ordered_json;

Json speed_json(const silicon::Speed& speed) {
  return {{"tokens_per_s", speed.tokens_per_s}, {"low", speed.low}, {"high", speed.high}, {"basis", speed.basis}};
}

namespace {

Json rules_json(const std::vector<const silicon::PlacementRule*>& rules) {
  Json json = Json::array();
  for (const auto* rule : rules) json.push_back(report::rule_json(*rule));
  return json;
}

Json op_json(const silicon::OpPlacement& op) {
  Json json{{"name", op.node->output_count() ? op.node->output().name() : op.node->name},
            {"op", op.node->op->name},
            {"engine", silicon::name(op.engine)},
            {"seconds", op.seconds},
            {"flops", op.flops},
            {"weight_bytes", op.weight_bytes},
            {"activation_bytes", op.activation_bytes}};
  if (op.free) json["sizes_only"] = true;
  if (!op.node->source.empty()) json["source"] = op.node->source;
  for (auto engine : {silicon::Engine::ane, silicon::Engine::gpu, silicon::Engine::cpu})
    json["verdicts"][std::string(silicon::name(engine))] = silicon::name(op.verdicts[std::size_t(engine)]);
  if (!op.rules.empty()) json["rules"] = rules_json(op.rules);
  return json;
}

Json language_json(const LanguagePlan& plan) {
  Json json{{"runtime", plan.runtime}, {"prompt", speed_json(plan.prompt)}, {"tokens_that_fit", plan.tokens_that_fit}};
  for (const auto& line : plan.decode) {
    Json entry = speed_json(line.speed);
    entry["context"] = line.context;
    entry["cache_bytes"] = line.cache_bytes;
    entry["fits"] = line.fits;
    json["decode"].push_back(entry);
  }
  return json;
}

Json chip_json(const ChipPlan& plan, bool ops) {
  const silicon::Placement& p = plan.placement;
  Json json{{"chip", plan.chip->name},
            {"memory_gb", plan.memory_gb},
            {"limit_gb", plan.limit_gb},
            {"fits", plan.fits},
            {"seconds", p.seconds},
            {"low_seconds", p.low_seconds},
            {"high_seconds", p.high_seconds},
            {"memory",
             {{"weights", p.memory.weights},
              {"activations", p.memory.activations},
              {"states", p.memory.states},
              {"total", p.memory.total()}}},
            {"ops", {{"total", p.counted()}}}};
  for (auto engine : {silicon::Engine::ane, silicon::Engine::gpu, silicon::Engine::cpu})
    json["ops"][std::string(silicon::name(engine))] = p.count(engine);
  for (const auto& s : p.segments)
    json["segments"].push_back({{"engine", silicon::name(s.engine)},
                                {"first_op", s.begin},
                                {"ops", s.end - s.begin},
                                {"seconds", s.seconds},
                                {"copied_bytes", s.copied_bytes}});
  for (const auto& b : p.breaks) {
    Json entry{
        {"op", b.op->node->op->name}, {"first", b.op->node->label()}, {"count", b.count}, {"seconds", b.seconds}};
    if (b.rule) entry["rule"] = report::rule_json(*b.rule);
    json["breaks"].push_back(entry);
  }
  if (!p.note.empty()) json["note"] = p.note;
  if (plan.language) json["language_model"] = language_json(*plan.language);
  if (ops)
    for (const auto& op : p.ops) json["placements"].push_back(op_json(op));
  return json;
}

}  // namespace

Json plan_json(const PlanReport& report, bool ops) {
  Json json{{"path", report.path},
            {"function", report.function},
            {"parameters", report.parameters},
            {"units", report.units},
            {"prediction", true}};
  if (report.cpu_working_bytes) json["cpu_working_bytes"] = *report.cpu_working_bytes;
  for (const auto& chip : report.chips) json["chips"].push_back(chip_json(chip, ops));
  for (const std::string& warning : report.warnings) json["warnings"].push_back(warning);
  return json;
}

}  // namespace pomona::api
