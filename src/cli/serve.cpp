#include "server/serve.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"

namespace pomona::cli {

Run declare_serve(CLI::App& app) {
  struct Arguments {
    std::string model;
    server::ServeOptions options;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "a language model or sentence encoder in any form")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto opened = server::Server::open(a->model, a->options);
    if (!opened) return std::move(opened).error();
    std::shared_ptr<server::Server> server = std::move(*opened);
    when_interrupted([server] { server->stop(); });
    std::string url = server->url();
    session.note(fmt::format("listening on {}", url));
    server->run();
    return Outcome(Json{{"url", url}});
  };
}

}  // namespace pomona::cli
