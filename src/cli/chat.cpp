#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "api/chat.h"
#include "api/files.h"
#include "cli/flags.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

struct Talk {
  api::Language language;
  llm::Session session;
  api::SamplingFlags sampling;
  Json messages = Json::array(), first = Json::array();
  std::size_t turns = 0, tokens = 0;

  // One answer, printed as it comes. A conversation that has grown too long for the model loses its oldest turns.
  Status answer(const std::string& text, const Session& shown) {
    messages.push_back({{"role", "user"}, {"content", text}});
    std::vector<int> prompt = POM_TRY(api::prompt_that_fits(language, messages, first.size(), sampling.max_tokens));
    auto print = [&](std::string_view piece) {
      if (!shown.json) {
        std::fwrite(piece.data(), 1, piece.size(), stdout);
        std::fflush(stdout);
      }
      return true;
    };
    api::Generation g = POM_TRY(api::generate(language, session, std::move(prompt), sampling, print));
    messages.push_back({{"role", "assistant"}, {"content", g.text}});
    ++turns;
    tokens += g.ids.size();
    shown.say("");
    if (g.decode_seconds > 0) shown.note(fmt::format("({:.1f} tokens/s)", double(g.ids.size()) / g.decode_seconds));
    return {};
  }

  // "/save FILE" and the like; true when the line was one.
  Result<bool> command(const std::string& line, const Session& shown) {
    if (line == "/reset") {
      messages = first;
      shown.note("begun afresh");
    } else if (line.starts_with("/save ")) {
      POM_TRY(api::write_whole_file(line.substr(6), messages.dump(2) + "\n", true));
      shown.note("wrote " + line.substr(6));
    } else if (line == "/help" || line.starts_with('/')) {
      shown.note("/reset begins afresh, /save FILE writes the conversation as JSON, /exit ends");
    } else {
      return false;
    }
    return true;
  }
};

}  // namespace

Run declare_chat(CLI::App& app) {
  struct Arguments {
    std::string model, system;
    std::int64_t context = 0;
    api::SamplingFlags sampling;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "a language model in any form")->required();
  app.add_option("--system", a->system, "what the model is told before");
  app.add_option("--context", a->context, "tokens the model keeps in mind; 0: its own, at most 4096");
  add_flags(app, a->sampling);
  return [a](const Session& session) -> Result<Outcome> {
    auto language = api::open_language(a->model, {.context = a->context});
    if (!language) return std::move(language).error();
    auto machine = llm::Session::open(*language->program);
    if (!machine) return std::move(machine).error();
    Talk talk{std::move(*language), std::move(*machine), a->sampling};
    if (!a->system.empty()) talk.first.push_back({{"role", "system"}, {"content", a->system}});
    talk.messages = talk.first;
    session.note("/help says what else can be typed");
    for (std::string line; (session.terminal ? session.note(">") : void()), std::getline(std::cin, line);) {
      if (line == "/exit") break;
      if (line.empty()) continue;
      auto taken = talk.command(line, session);
      Status done = !taken ? Status(taken.error()) : *taken ? Status() : talk.answer(line, session);
      if (!done) return std::move(done).error();
    }
    return Outcome(Json{{"messages", talk.messages}, {"turns", talk.turns}, {"tokens", talk.tokens}});
  };
}

}  // namespace pomona::cli
