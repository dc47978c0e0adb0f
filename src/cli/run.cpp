#include "api/run.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

constexpr std::size_t shown_values = 6;

Json summary(const Tensor& tensor) {
  if (tensor.is_list()) return {{"list_of", tensor.elements().size()}};
  if (tensor.is_dictionary()) {
    const Tensor &keys = tensor.elements()[0], &values = tensor.elements()[1];
    std::vector<std::size_t> order(values.count());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return values.number(a) > values.number(b); });
    Json best = Json::object();
    for (std::size_t i = 0; i < std::min(order.size(), shown_values); ++i)
      best[keys.dtype() == DType::string ? keys.text()[order[i]] : fmt::format("{}", keys.number(order[i]))] =
          values.number(order[i]);
    return {{"entries", order.size()}, {"greatest", best}};
  }
  Json json{{"dtype", name(tensor.dtype())}, {"shape", tensor.sizes()}};
  if (tensor.dtype() == DType::string) {
    json["first"] = tensor.text();
    return json;
  }
  double lowest = std::numeric_limits<double>::infinity(), highest = -lowest, sum = 0;
  for (std::size_t i = 0; i < tensor.count(); ++i) {
    double value = tensor.number(i);
    lowest = std::min(lowest, value);
    highest = std::max(highest, value);
    sum += value;
  }
  if (tensor.count()) {
    json["min"] = number(lowest);
    json["mean"] = number(sum / double(tensor.count()));
    json["max"] = number(highest);
  }
  json["first"] = Json::array();
  for (std::size_t i = 0; i < std::min(tensor.count(), shown_values); ++i)
    json["first"].push_back(number(tensor.number(i)));
  return json;
}

std::string sentence(const std::string& output, const Json& json) {
  std::string text = output + ":";
  for (const auto& [key, value] : json.items()) {
    if (key == "dtype" || key == "shape")
      text += " " + (value.is_string() ? value.get<std::string>() : value.dump());
    else if (value.is_number_float())
      text += fmt::format("  {} {:.6g}", key, value.get<double>());
    else if (value.is_array()) {
      text += "  " + key;
      for (const Json& each : value)
        text += each.is_number() ? fmt::format(" {:.5g}", each.get<double>()) : " " + each.dump();
    } else {
      text += fmt::format("  {} {}", key, value.dump());
    }
  }
  return text;
}

}  // namespace

Run declare_run(CLI::App& app) {
  struct Arguments {
    std::string model;
    api::RunOptions options;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the model to run")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto report = api::run(a->model, a->options);
    if (!report) return std::move(report).error();
    Json found{{"load_seconds", report->load_seconds}, {"run_seconds", report->run_seconds}};
    for (const auto& [name, tensor] : report->outputs) {
      Json& json = found["outputs"][name] = summary(tensor);
      if (a->options.outputs->empty() || session.verbose) session.answer(sentence(name, json));
    }
    for (const std::string& place : *a->options.outputs) session.say("wrote " + place);
    return Outcome(found);
  };
}

}  // namespace pomona::cli
