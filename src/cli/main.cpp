// The command line: parsing, printing and exit statuses. The verbs are in files of their own.
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>

#include "base/record.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/usage.h"
#include "pomona/version.h"

namespace pomona::cli {

void Session::say(std::string_view line) const {
  if (!quiet) answer(line);
}
void Session::answer(std::string_view line) const {
  if (!json) fmt::print("{}\n", line);
}
Outcome::Outcome(const Json& object, bool answer)
    : json(object.dump(2, ' ', false, Json::error_handler_t::replace)), yes(answer) {}
void Session::note(std::string_view line) const {
  if (!quiet) fmt::print(stderr, "{}\n", line);
}

namespace {

int exit_status(Fault fault) {
  switch (fault) {
    case Fault::request:
      return 2;
    case Fault::environment:
      return 3;
    case Fault::bug:
      return 70;
  }
  return 70;
}

Json error_json(const Error& error) {
  static constexpr std::string_view kinds[] = {"request", "environment", "bug"};
  std::vector<std::string> places(error.places.rbegin(), error.places.rend());
  return {
      {"error", {{"kind", kinds[int(error.fault)]}, {"what", error.what}, {"places", places}, {"try", error.advice}}}};
}

int report(Error error, const Session& session) {
  // Layers that name the same place name it once.
  error.places.erase(std::unique(error.places.begin(), error.places.end()), error.places.end());
  if (session.json) fmt::print("{}\n", error_json(error).dump(2));
  fmt::print(stderr, "{}\n", describe(error));
  return exit_status(error.fault);
}

int run_verb(const std::function<Result<Outcome>(const Session&)>& run, const Session& session) {
  auto outcome = run(session);
  if (!outcome) return report(outcome.error(), session);
  if (session.json) fmt::print("{}\n", outcome->json);
  std::fflush(stdout);
  return outcome->yes ? 0 : 1;
}

struct Parsed {
  CLI::App* app;
  const Command* command;
  std::function<Result<Outcome>(const Session&)> run;
};

void add_shared_flags(CLI::App& app, Session& session, unsigned& threads) {
  app.add_flag("--json", session.json, "print one JSON object on standard output");
  app.add_flag("--quiet,-q", session.quiet, "print answers and errors only");
  app.add_flag("--verbose,-v", session.verbose, "print more of what is being done");
  app.add_option("--threads", threads, "threads to use; results are the same for any number")
      ->check(CLI::Range(1, 1024));
}

std::string footer(const Command& command) {
  if (command.examples.empty()) return {};
  return fmt::format("\nExamples: (in the folder of the sources, after `make demo`)\n{}", command.examples);
}

int help(const std::vector<Parsed>& verbs, const std::string& wanted, const std::string& overview) {
  for (const Parsed& verb : verbs) {
    if (verb.command->name != wanted) continue;
    fmt::print("{}", verb.app->help());
    return 0;
  }
  if (!wanted.empty()) {
    fmt::print(stderr, "error: there is no verb '{}'\n", wanted);
    return 2;
  }
  fmt::print("{}", overview);
  return 0;
}

// The first word that is no option: what should be a verb.
std::string first_word(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    if (word == "--threads")
      ++i;
    else if (!word.starts_with("-"))
      return argv[i];
  }
  return {};
}

// Whether that word is a verb, if there is one.
Status check_verb(const std::string& word) {
  if (word.empty()) return {};
  std::vector<std::string_view> known{"help"};
  for (const Command& command : commands()) known.push_back(command.name);
  if (std::find(known.begin(), known.end(), word) != known.end()) return {};
  std::string near = nearest_word(word, known);
  return fail("there is no verb '{}'", word).advise(near.empty() ? "pomona help" : "pomona " + near);
}

int main(int argc, char** argv) {
  CLI::App app{"Pomona turns models into programs that run well on Apple M chips, and proves it on any machine.",
               "pomona"};
  app.set_version_flag("--version", "pomona " + std::string(version()));
  app.require_subcommand(0, 1);
  Session session;
  session.terminal = isatty(STDERR_FILENO);
  unsigned threads = 0;
  // Before the verb or after it.
  add_shared_flags(app, session, threads);
  std::vector<Parsed> verbs;
  for (const Command& command : commands()) {
    CLI::App* verb = app.add_subcommand(std::string(command.name), std::string(command.summary));
    // The flags of all verbs take a third of the time in which a program like this starts.
    if (std::find(argv, argv + argc, command.name) == argv + argc) continue;
    verb->footer(footer(command));
    add_shared_flags(*verb, session, threads);
    if (command.declare) {
      verbs.push_back({verb, &command, command.declare(*verb)});
      continue;
    }
    verb->allow_extras();
    verbs.push_back({verb, &command, [&command](const Session&) -> Result<Outcome> {
                       return fail("this version of pomona cannot '{}' yet", command.name);
                     }});
  }
  std::string wanted;
  CLI::App* help_verb = app.add_subcommand("help", "what a verb does, with examples");
  help_verb->add_option("verb", wanted);
  // Taken now: once a verb is parsed, the app's help is the verb's.
  std::string overview = app.help();
  // An error in the flags is reported as --json asks, wherever that stands.
  for (int i = 1; i < argc; ++i) session.json = session.json || std::string_view(argv[i]) == "--json";
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    if (problem.get_exit_code() == 0) return app.exit(problem);
    std::string word = first_word(argc, argv);
    if (Status known = check_verb(word); !known) return report(known.error(), session);
    return report(usage_error(problem, word.empty() || word == "help" ? nullptr : app.get_subcommand(word)), session);
  }
  if (threads) set_thread_count(threads);
  if (help_verb->parsed()) return help(verbs, wanted, overview);
  for (const Parsed& verb : verbs)
    if (verb.app->parsed()) return run_verb(verb.run, session);
  fmt::print("{}", app.help());
  return argc == 1 ? 2 : 0;
}

}  // namespace
}  // namespace pomona::cli

int main(int argc, char** argv) {
  pomona::cli::end_cleanly_when_interrupted();
  // Nothing of ours throws; what the standard library does when memory ends comes here.
  try {
    return pomona::cli::main(argc, argv);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: this machine has not enough memory for it\n");
    return 3;
  } catch (const std::exception& problem) {
    fmt::print(stderr, "error: {}; this is a bug of pomona\n", problem.what());
    return 70;
  }
}
