// A verb of the command line. Each verb is one file with one Command; verbs.cpp lists them.
//
// A command declares its flags on a CLI11 subcommand and returns what it found as JSON, having printed it for people
// when that is wanted. It holds no logic of its own: api/ does the work.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/error.h"

namespace CLI {
class App;
}

namespace pomona::cli {

using Json = nlohmann::ordered_json;

// What every verb shares.
struct Session {
  bool json = false;  // one object on standard output and nothing else there
  bool quiet = false;
  bool verbose = false;
  bool terminal = false;  // standard error is one: progress may be drawn
  // A line for people on standard output; nothing with --json or --quiet.
  void say(std::string_view line) const;
  // What was asked for, on standard output; nothing with --json, but even with --quiet.
  void answer(std::string_view line) const;
  // A warning or a note, on standard error.
  void note(std::string_view line) const;
};

// What a verb did: its JSON, and whether the answer was yes (exit 0) or no (exit 1).
struct Outcome {
  std::string json;  // the object's text
  bool yes;
  explicit Outcome(const Json& object, bool answer = true);
};

struct Command {
  std::string_view name, summary;
  std::string_view examples;  // three, that work when pasted
  // Declares the flags and returns what runs after they were parsed.
  std::function<Result<Outcome>(const Session&)> (*declare)(CLI::App& app);
};

// Every verb, in the order of the help; verbs that no part exists for yet have a null `declare`.
const std::vector<Command>& commands();

}  // namespace pomona::cli
