#include "api/inspect.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include <algorithm>

#include "api/files.h"
#include "cli/print.h"
#include "cli/print_sizes.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

struct Arguments {
  std::string model;
  bool ops = false, weights = false;
};

Json features_json(const std::vector<api::FeatureLine>& lines) {
  Json json = Json::object();
  for (const auto& [feature, type] : lines) {
    json[feature.name] = {{"type", type}};
    if (feature.has_shape) json[feature.name]["shape"] = feature.shape;
    if (!feature.description.empty()) json[feature.name]["description"] = feature.description;
  }
  return json;
}

void add_weights(Json& json, const api::Inspection& found, const Arguments& a) {
  if (!a.weights) return;
  for (const api::WeightLine& w : found.weights)
    json["weights"].push_back({{"name", w.name},
                               {"type", w.type.text()},
                               {"scheme", w.scheme},
                               {"parameters", w.parameters},
                               {"bytes", w.bytes}});
}

Json to_json(const api::Inspection& found, const Arguments& a) {
  Json json{{"path", found.path}, {"format", found.format}, {"file_bytes", found.file_bytes}};
  if (!found.obstacle.empty()) json["obstacle"] = found.obstacle;
  if (found.functions.empty() && found.weights.empty()) return json;
  json["parameters"] = found.parameters;
  json["bytes_by_kind"] = found.bytes_by_kind;
  if (!found.configuration.empty()) json["config"] = Json::parse(found.configuration, nullptr, false);
  add_weights(json, found, a);
  if (found.functions.empty()) return json;
  json["default_function"] = found.default_function;
  json["metadata"] = {{"author", found.metadata.author},
                      {"license", found.metadata.license},
                      {"version", found.metadata.version},
                      {"description", found.metadata.description},
                      {"user", found.metadata.user}};
  for (const api::FunctionFacts& f : found.functions)
    json["functions"][f.name] = {{"target", name(f.opset)},
                                 {"opset", info(f.opset).opset},
                                 {"needs", name(f.needs)},
                                 {"needs_because", f.needs_because},
                                 {"inputs", features_json(f.inputs)},
                                 {"outputs", features_json(f.outputs)},
                                 {"states", features_json(f.states)},
                                 {"ops", f.ops},
                                 {"open_sizes", open_sizes_json(f.open_sizes)}};
  if (a.ops)
    for (const api::OpLine& op : found.ops)
      json["ops"].push_back({{"name", op.name}, {"op", op.op}, {"types", op.types}, {"source", op.source}});
  return json;
}

void say_function(const Session& session, const api::FunctionFacts& f) {
  session.answer(fmt::format("function {} (target {}; its ops need {}{})", f.name, name(f.opset), name(f.needs),
                             f.needs_because.empty() ? "" : " because of " + f.needs_because));
  std::vector<std::vector<std::string>> rows;
  auto add = [&](std::string_view what, const std::vector<api::FeatureLine>& lines) {
    for (const auto& [feature, type] : lines)
      rows.push_back({fmt::format("  {}", what), feature.name, type, feature.description});
  };
  add("input", f.inputs);
  add("state", f.states);
  add("output", f.outputs);
  session.answer(table(rows));
  std::vector<std::pair<std::string, std::size_t>> ops(f.ops.begin(), f.ops.end());
  std::stable_sort(ops.begin(), ops.end(), [](const auto& x, const auto& y) { return x.second > y.second; });
  std::string line;
  std::size_t total = 0;
  for (const auto& [op, count] : ops) {
    line += fmt::format("{}{} {}", line.empty() ? "" : ", ", op, count);
    total += count;
  }
  session.answer(fmt::format("  {} ops: {}", total, line));
  for (const std::string& sentence : open_sizes_text(f.open_sizes, total, session.verbose))
    session.answer("  " + sentence);
}

// A tokenizer is a megabyte of metadata; --json has all of it.
std::string beginning_of(const std::string& text) {
  constexpr std::size_t most = 200;
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // within a character
  return fmt::format("{}... ({}; --json has it all)", text.substr(0, end), api::size_text(text.size()));
}

void say(const Session& session, const api::Inspection& found, const Arguments& a) {
  session.answer(fmt::format("{}: {}, {}", found.path, found.format, api::size_text(found.file_bytes)));
  if (!found.obstacle.empty()) {
    session.answer("cannot be converted:\n" + found.obstacle);
    if (found.weights.empty()) return;
  }
  if (!found.configuration.empty()) session.answer("config.json: " + found.configuration);
  const Metadata& m = found.metadata;
  auto line = [&](std::string_view what, const std::string& text) {
    if (!text.empty()) session.answer(fmt::format("{}: {}", what, beginning_of(text)));
  };
  line("author", m.author);
  line("licence", m.license);
  line("version", m.version);
  line("description", m.description);
  for (const auto& [key, value] : m.user) line(key, value);
  for (const api::FunctionFacts& f : found.functions) say_function(session, f);
  session.answer(fmt::format("{} parameters", found.parameters));
  for (const auto& [kind, bytes] : found.bytes_by_kind)
    session.answer(fmt::format("  {} in {}", api::size_text(bytes), kind));
  if (a.weights) {
    std::vector<std::vector<std::string>> rows{{"weight", "type", "scheme", "bytes"}};
    for (const api::WeightLine& w : found.weights)
      rows.push_back({w.name, w.type.text(), w.scheme, std::to_string(w.bytes)});
    session.answer(table(rows));
  }
  if (a.ops) {
    std::vector<std::vector<std::string>> rows{{"name", "op", "result", "source"}};
    for (const api::OpLine& op : found.ops) rows.push_back({op.name, op.op, op.types, op.source});
    session.answer(table(rows));
  }
}

}  // namespace

Run declare_inspect(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the model to look at")->required();
  app.add_flag("--ops", a->ops, "list every op");
  app.add_flag("--weights", a->weights, "list every weight");
  return [a](const Session& session) -> Result<Outcome> {
    auto found = api::inspect(a->model);
    if (!found) return std::move(found).error();
    say(session, *found, *a);
    return Outcome{to_json(*found, *a), true};
  };
}

}  // namespace pomona::cli
