#include "api/plan.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "api/files.h"
#include "api/plan_json.h"
#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"
#include "report/plan_page.h"
#include "silicon/rule_book.h"

namespace pomona::cli {
namespace {

struct Arguments {
  std::string model, rows, fit, measured, output, html;
  bool force = false, ops = false, rules = false;
  api::PlanOptions options;
};

std::string ms(double seconds) { return fmt::format("{:.3g}", seconds * 1e3); }

// What a rule hit: how many ops, of which kinds, and the first of them.
struct Hits {
  std::size_t count = 0;
  std::map<std::string_view, std::size_t> kinds;
  std::string first;
  std::string text() const {
    std::string all;
    for (const auto& [op, times] : kinds) all += fmt::format("{}{} {}", all.empty() ? "" : ", ", times, op);
    return all;
  }
};

// Rules that keep ops off the Neural Engine, those with the most ops first.
void say_reasons(const Session& session, const silicon::Placement& placement) {
  std::map<const silicon::PlacementRule*, Hits> reasons;
  for (const auto& op : placement.ops) {
    if (op.free) continue;
    for (const auto* rule : op.rules) {
      if (rule->engine != silicon::Engine::ane || silicon::runs(rule->verdict)) continue;
      Hits& hits = reasons[rule];
      if (!hits.count++) hits.first = op.node->output_count() ? op.node->output().name() : op.node->name;
      ++hits.kinds[op.node->op->name];
    }
  }
  if (reasons.empty()) return;
  session.say("what speaks against the Neural Engine (confidence A: Apple says so, B: several reports, C: one):");
  std::vector<std::pair<const silicon::PlacementRule*, Hits>> sorted(reasons.begin(), reasons.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& x, const auto& y) { return x.second.count > y.second.count; });
  for (const auto& [rule, hits] : sorted) {
    session.say(fmt::format("  {} [{}, {}] {} ops: {}", rule->id, silicon::name(rule->verdict), rule->confidence,
                            hits.count, rule->why));
    session.say(fmt::format("    {}; first '{}'", hits.text(), hits.first));
    if (!rule->mend.empty()) session.say(fmt::format("    try: {}", silicon::mend_text(*rule)));
    session.say(fmt::format("    source: {}", rule->source));
  }
}

void say_language(const Session& session, const api::LanguagePlan& plan) {
  session.say(fmt::format("as a language model ({}): prompt {:.0f} tokens/s ({:.0f} to {:.0f})", plan.runtime,
                          plan.prompt.tokens_per_s, plan.prompt.low, plan.prompt.high));
  std::vector<std::vector<std::string>> rows{{"  context", "tokens/s", "from", "to", "cache", ""}};
  for (const auto& line : plan.decode)
    rows.push_back({std::to_string(line.context), fmt::format("{:.1f}", line.speed.tokens_per_s),
                    fmt::format("{:.1f}", line.speed.low), fmt::format("{:.1f}", line.speed.high),
                    api::size_text(line.cache_bytes), line.fits ? "" : "does not fit"});
  session.say(table(rows));
  session.say(fmt::format("  {} tokens of cache fit", plan.tokens_that_fit));
}

void say_chip(const Session& session, const api::ChipPlan& plan) {
  const silicon::Placement& p = plan.placement;
  session.say(fmt::format("{}, {} GB: a prediction", plan.chip->name, plan.memory_gb));
  session.say(fmt::format("{} ops: {} on the Neural Engine, {} on the GPU, {} on the CPU; {} segments", p.counted(),
                          p.count(silicon::Engine::ane), p.count(silicon::Engine::gpu), p.count(silicon::Engine::cpu),
                          p.segments.size()));
  if (!p.note.empty()) session.say(p.note);
  session.say(fmt::format("{} ms ({} to {})", ms(p.seconds), ms(p.low_seconds), ms(p.high_seconds)));
  session.say(fmt::format(
      "memory {}: weights {}, activations {}, states {}; {} of what one program may keep ({:.1f} GB)",
      api::size_text(p.memory.total()), api::size_text(p.memory.weights), api::size_text(p.memory.activations),
      api::size_text(p.memory.states), plan.fits ? "within" : "MORE than", plan.limit_gb));
  if (plan.language) say_language(session, *plan.language);
  if (p.segments.size() > 1) {
    std::vector<std::vector<std::string>> rows{{"segment", "engine", "ops", "ms", "copied in"}};
    for (std::size_t i = 0; i < p.segments.size() && i < 20; ++i) {
      const auto& s = p.segments[i];
      rows.push_back({std::to_string(i + 1), std::string(silicon::name(s.engine)), std::to_string(s.end - s.begin),
                      ms(s.seconds), api::size_text(s.copied_bytes)});
    }
    session.say(table(rows));
    if (p.segments.size() > 20) session.say(fmt::format("... and {} more", p.segments.size() - 20));
  }
  for (const auto& b : p.breaks) {
    session.say(fmt::format("{} breaks by {} (first {}) cost {} ms: {}", b.count, b.op->node->op->name,
                            b.op->node->label(), ms(b.seconds), b.rule ? b.rule->why : "cheaper there"));
    if (b.rule && !b.rule->mend.empty()) session.say("    try: " + silicon::mend_text(*b.rule));
  }
  say_reasons(session, p);
}

void say_chips(const Session& session, const api::PlanReport& report) {
  bool language = !report.chips.empty() && report.chips[0].language.has_value();
  std::vector<std::vector<std::string>> rows{
      {"chip", "memory GB", "fits", language ? "tokens/s" : "ms", "from", "to", "uses", "Neural Engine", "GPU", "CPU"}};
  for (const auto& plan : report.chips) {
    const auto& p = plan.placement;
    auto [value, low, high] = std::tuple{ms(p.seconds), ms(p.low_seconds), ms(p.high_seconds)};
    if (plan.language && !plan.language->decode.empty()) {
      const auto& speed = plan.language->decode[0].speed;
      value = fmt::format("{:.1f}", speed.tokens_per_s);
      low = fmt::format("{:.1f}", speed.low);
      high = fmt::format("{:.1f}", speed.high);
    }
    rows.push_back({std::string(plan.chip->name), fmt::format("{:g}", plan.memory_gb), plan.fits ? "yes" : "no", value,
                    low, high, api::size_text(p.memory.total()), std::to_string(p.count(silicon::Engine::ane)),
                    std::to_string(p.count(silicon::Engine::gpu)), std::to_string(p.count(silicon::Engine::cpu))});
  }
  session.say("predictions:");
  session.say(table(rows));
}

Result<Outcome> rows_verb(const Session& session, const Arguments& a) {
  auto found = api::predict_rows(a.rows, a.output, a.force, a.options.constants);
  if (!found) return std::move(found).error();
  Json json{{"rows", found->lines.size()}, {"output", a.output}};
  std::size_t line_number = 1;
  for (const auto& line : found->lines) {
    ++line_number;
    if (line.speed) {
      json["predictions"].push_back(api::speed_json(*line.speed));
      continue;
    }
    json["predictions"].push_back({{"obstacle", line.obstacle}});
    session.note(fmt::format("row {} has no prediction: {}", line_number - 1, line.obstacle));
  }
  std::vector<std::vector<std::string>> rows{{"runtime and phase", "rows", "median error", "p90", "within interval"}};
  for (const auto& e : found->errors) {
    json["errors"].push_back(
        {{"group", e.group}, {"rows", e.rows}, {"median", e.median}, {"p90", e.p90}, {"inside", e.inside}});
    rows.push_back({e.group, std::to_string(e.rows), fmt::format("{:.1f}%", 100 * e.median),
                    fmt::format("{:.1f}%", 100 * e.p90), fmt::format("{:.0f}%", 100 * e.inside)});
  }
  if (!found->errors.empty()) session.say(table(rows));
  if (a.output.empty()) {
    for (const auto& line : found->lines)
      session.say(line.speed ? fmt::format("{:.4g} tokens/s ({:.4g} to {:.4g})", line.speed->tokens_per_s,
                                           line.speed->low, line.speed->high)
                             : "no prediction: " + line.obstacle);
  } else {
    session.say(fmt::format("{} rows with predictions in {}", found->lines.size(), a.output));
  }
  return Outcome{json, true};
}

Result<Outcome> fit_verb(const Session& session, const Arguments& a) {
  auto study = api::fit_rows(a.fit, a.output, a.force);
  if (!study) return std::move(study).error();
  Json json{{"output", a.output}};
  std::vector<std::vector<std::string>> rows{
      {"runtime and phase", "rows", "chips", "median error of a chip left out", "p90", "within interval"}};
  for (const auto& left : study->left_out) {
    bool known = left.chips > 1;
    json["groups"].push_back({{"group", left.group},
                              {"rows", left.rows},
                              {"chips", left.chips},
                              {"median", known ? Json(left.median_error) : Json()},
                              {"p90", known ? Json(left.p90_error) : Json()},
                              {"inside", known ? Json(left.inside) : Json()}});
    rows.push_back({left.group, std::to_string(left.rows), std::to_string(left.chips),
                    known ? fmt::format("{:.1f}%", 100 * left.median_error) : "one chip only",
                    known ? fmt::format("{:.1f}%", 100 * left.p90_error) : "",
                    known ? fmt::format("{:.0f}%", 100 * left.inside) : ""});
  }
  json["constants"] = Json::parse(silicon::speed_constants_json(study->constants));
  session.say(table(rows));
  return Outcome{json, true};
}

Result<Json> measured_verb(const Session& session, const Arguments& a, const api::ChipPlan* plan) {
  auto found = api::compare_measured(a.measured, plan, a.options.chip);
  if (!found) return std::move(found).error();
  Json json{{"kind", found->kind}, {"lines", found->lines.size()}, {"agreeing", found->agreeing}};
  std::vector<std::vector<std::string>> rows{{"", "predicted", "measured", ""}};
  for (const auto& line : found->lines) {
    json["comparison"].push_back(
        {{"what", line.what}, {"predicted", line.predicted}, {"measured", line.measured}, {"agrees", line.agrees}});
    if (!line.agrees || found->kind == "llama-bench")
      rows.push_back({line.what, line.predicted, line.measured, line.agrees ? "" : "differs"});
  }
  session.say(fmt::format("{} of {} agree with the {}", found->agreeing, found->lines.size(), found->kind));
  if (rows.size() > 1) session.say(table(rows));
  return json;
}

Result<Outcome> plan_verb(const Session& session, const Arguments& a) {
  auto model = api::open_model(a.model);
  if (!model) return std::move(model).error();
  auto report = api::plan(*model, a.options);
  if (!report) return std::move(report).error();
  session.say(fmt::format("{}: function {}, {} parameters, units {}", report->path, report->function,
                          report->parameters, report->units));
  Json json = api::plan_json(*report, a.ops);
  if (report->chips.size() == 1)
    say_chip(session, report->chips[0]);
  else
    say_chips(session, *report);
  if (report->cpu_working_bytes)
    session.say("working memory of Pomona's own runtime: " + api::size_text(*report->cpu_working_bytes));
  for (const std::string& warning : report->warnings) session.note("warning: " + warning);
  if (!a.html.empty()) {
    if (auto written = api::write_plan_page(*report, a.html, a.force); !written) return std::move(written).error();
    session.say("page: " + a.html);
    json["html"] = a.html;
  }
  if (!a.measured.empty()) {
    auto measured = measured_verb(session, a, &report->chips[0]);
    if (!measured) return std::move(measured).error();
    json["measured"] = *measured;
  }
  return Outcome{json, true};
}

// Every rule with its source, and what is known and no rule.
Outcome rules_verb(const Session& session) {
  Json json{{"rules", Json::array()}, {"known", Json::array()}};
  for (const silicon::PlacementRule& rule : silicon::placement_rules()) {
    json["rules"].push_back(report::rule_json(rule));
    session.say(fmt::format("{} [{}: {}, {}] {}", rule.id, silicon::name(rule.engine), silicon::name(rule.verdict),
                            rule.confidence, rule.why));
    if (!rule.mend.empty()) session.say("    try: " + silicon::mend_text(rule));
    session.say(fmt::format("    source: {}", rule.source));
  }
  session.say("\nwhat is known, and which record holds it:");
  for (const silicon::BookEntry& entry : silicon::rule_book()) {
    json["known"].push_back({{"id", entry.id},
                             {"says", entry.says},
                             {"confidence", std::string(1, entry.confidence)},
                             {"records", entry.records},
                             {"otherwise", entry.otherwise}});
    session.say(fmt::format("{} [{}] {}", entry.id, entry.confidence, entry.says));
    if (!entry.records.empty()) session.say(fmt::format("    {}", fmt::join(entry.records, ", ")));
    if (!entry.otherwise.empty()) session.say(fmt::format("    {}", entry.otherwise));
  }
  return Outcome{json, true};
}

}  // namespace

Run declare_plan(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the model to plan");
  app.add_option("--rows", a->rows, "a CSV of language models' speeds: predict each row (with -o, write them)");
  app.add_option("--fit", a->fit, "refit the constants from such a CSV; with -o, write them");
  app.add_option("--measured", a->measured,
                 "a compute plan, Xcode's performance report or llama-bench's JSON to hold the prediction against");
  app.add_option("-o,--output", a->output, "of --rows (CSV) and --fit (JSON)");
  app.add_option("--html", a->html, "also write the plan of the (first) chip as a page for a browser");
  app.add_flag("--force", a->force, "replace an existing output");
  app.add_flag("--rules", a->rules, "no plan: every placement rule with its source, and what else is known");
  app.add_flag("--ops", a->ops, "with --json: every op with its verdicts, rules and time");
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    if (a->rules) return rules_verb(session);
    int asked = !a->rows.empty() + !a->fit.empty() + (!a->model.empty() || !a->measured.empty());
    if (asked != 1) return fail("plan takes a MODEL, or --rows FILE.csv, or --fit FILE.csv");
    if (!a->rows.empty()) return rows_verb(session, *a);
    if (!a->fit.empty()) return fit_verb(session, *a);
    if (!a->model.empty()) return plan_verb(session, *a);
    auto measured = measured_verb(session, *a, nullptr);
    if (!measured) return std::move(measured).error();
    return Outcome{*measured, true};
  };
}

}  // namespace pomona::cli
