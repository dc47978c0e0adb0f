#include "api/show.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/flags.h"
#include "cli/verbs.h"

namespace pomona::cli {

Run declare_show(CLI::App& app) {
  struct Arguments {
    std::string model;
    api::ShowOptions options;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the model to print")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto text = api::show(a->model, a->options);
    if (!text) return std::move(text).error();
    if (text->ends_with('\n')) text->pop_back();
    session.answer(*text);
    return Outcome{{{"text", *text}}, true};
  };
}

}  // namespace pomona::cli
