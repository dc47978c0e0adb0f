#include "api/doctor.h"
#include "api/model.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

struct Arguments {
  std::string model, error;
  api::DoctorOptions options;
};

Outcome machine_verb(const Session& session) {
  api::Machine m = api::machine();
  Json json{{"system", m.system},
            {"processor", m.processor},
            {"vector_units", m.vector_units},
            {"cores", m.cores},
            {"threads", m.threads},
            {"memory_gb", m.memory_gb},
            {"free_disk_gb", m.free_disk_gb},
            {"cache_folder", m.cache_folder},
            {"core_ml", m.core_ml}};
  session.say(fmt::format("{}; {}", m.system, m.processor));
  session.say(
      fmt::format("{} cores, of which this process may use {}; {:.1f} GB of memory; {:.1f} GB of disk free here",
                  m.cores, m.threads, m.memory_gb, m.free_disk_gb));
  session.say("vector units: " + m.vector_units);
  session.say(m.core_ml ? "Core ML is here" : "Core ML is not here: packages run on Pomona's own runtime");
  std::string readable;
  for (const api::Format& format : api::formats()) {
    json["formats"].push_back({{"name", format.name},
                               {"read", format.read != nullptr},
                               {"scope", format.scope},
                               {"written", format.written}});
    if (!format.read) continue;
    json["readable_formats"].push_back(format.name);
    readable += (readable.empty() ? "" : ", ") + std::string(format.name);
  }
  session.say("reads: " + readable);
  for (const api::Tool& tool : m.tools) {
    json["tools"].push_back({{"name", tool.name}, {"found", tool.found}, {"use", tool.use}});
    session.say(fmt::format("{}: {} ({})", tool.name, tool.found.empty() ? "not found" : tool.found, tool.use));
  }
  return Outcome{json, true};
}

Outcome explain_verb(const Session& session, const std::string& text) {
  Json json{{"error_text", text}, {"meanings", Json::array()}};
  auto found = silicon::explain(text);
  for (const auto* hit : found) {
    json["meanings"].push_back(
        {{"fragment", hit->fragment}, {"meaning", hit->meaning}, {"advice", hit->advice}, {"source", hit->source}});
    session.say(fmt::format("{}\n  try: {}\n  source: {}", hit->meaning, hit->advice, hit->source));
  }
  if (found.empty()) session.say("no known error of Core ML or the Neural Engine is in that text");
  return Outcome{json, !found.empty()};
}

}  // namespace

Run declare_doctor(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the model to examine; without it, this machine");
  app.add_option("--error", a->error, "an error text of Core ML: what it means");
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    if (!a->error.empty()) return explain_verb(session, a->error);
    if (a->model.empty()) return machine_verb(session);
    auto found = api::examine(a->model, a->options);
    if (!found) return std::move(found).error();
    Json json{{"path", a->model}, {"concerns", Json::array()}};
    bool well = true;
    for (const auto& c : *found) {
      well &= c.weight != silicon::Weightiness::failure;
      json["concerns"].push_back({{"check", c.check},
                                  {"weight", silicon::name(c.weight)},
                                  {"place", c.place},
                                  {"text", c.text},
                                  {"advice", c.advice},
                                  {"source", c.source},
                                  {"confidence", std::string(1, c.confidence)}});
      session.say(fmt::format("{} [{}]: {}{}{}", silicon::name(c.weight), c.confidence, c.place,
                              c.place.empty() ? "" : " ", c.text));
      session.say(fmt::format("  try: {}\n  source: {}", c.advice, c.source));
    }
    if (found->empty()) session.say("nothing is known to go wrong with this model");
    return Outcome{json, well};
  };
}

}  // namespace pomona::cli
