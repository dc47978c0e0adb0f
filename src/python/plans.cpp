// Where a model would run on M chips, and which scheme its weights deserve.
#include <nanobind/stl/string.h>

#include <nlohmann/json.hpp>

#include "api/plan.h"
#include "api/plan_json.h"
#include "api/search.h"
#include "python/calls.h"
#include "python/model.h"
#include "python/options.h"

namespace pomona::python {
namespace nb = nanobind;
namespace {

nb::dict python_of(const nlohmann::ordered_json& json) {
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return nb::cast<nb::dict>(nb::module_::import_("json").attr("loads")(text_of(text)));
}

nb::dict plan(const SharedModel& model, const nb::dict& given, bool ops, const std::string& page, bool force) {
  auto options = options_of<api::PlanOptions>(given);
  auto report = without_gil([&]() -> Result<api::PlanReport> {
    auto report = api::plan(*model, options);
    if (report && !page.empty()) POM_TRY(api::write_plan_page(*report, page, force));
    return report;
  });
  return python_of(api::plan_json(report, ops));
}

nb::dict point_dict(const api::SearchPoint& point) {
  nb::dict d;
  d["scheme"] = text_of(point.name);
  d["bytes"] = point.bytes;
  d["error"] = point.error;
  d["cosine"] = point.cosine;
  d["kl"] = point.kl;
  return d;
}

nb::dict search(const std::string& source, const std::string& recipe, const std::string& engine, const nb::dict& given,
                nb::object progress) {
  auto options = options_of<api::SearchOptions>(given);
  auto report = without_gil([&] { return api::search(source, recipe, engine, options, progress_to(progress)); });
  nb::list points, weights;
  for (const api::SearchPoint& point : report.points) points.append(point_dict(point));
  for (const api::SearchChoice& choice : report.chosen) {
    nb::dict d;
    d["name"] = text_of(choice.weight);
    d["scheme"] = text_of(choice.scheme);
    d["bytes"] = choice.bytes;
    d["error"] = choice.error;
    weights.append(d);
  }
  nb::dict d;
  d["recipe"] = text_of(report.recipe);
  d["plot"] = text_of(report.plot);
  d["reached"] = report.reached;
  d["result"] = point_dict(report.result);
  d["runs"] = report.runs;
  d["seconds"] = report.seconds;
  d["points"] = points;
  d["weights"] = weights;
  return d;
}

}  // namespace

void bind_plans(nb::module_& m) {
  m.def("plan", plan, nb::arg("model"), nb::arg("options"), nb::arg("ops") = false, nb::arg("page") = "",
        nb::arg("force") = false);
  m.def("search", search, nb::arg("source"), nb::arg("recipe"), nb::arg("engine"), nb::arg("options"),
        nb::arg("progress").none() = nb::none());
  m.def("plan_options", described<api::PlanOptions>);
  m.def("search_options", described<api::SearchOptions>);
}

}  // namespace pomona::python
