#include "cli/command.h"

namespace pomona::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> all{
      {"search", "choose scheme and bits per weight by measured sensitivity", "", nullptr},
      {"plan", "where each operation would run on an M chip, how fast, in how much memory", "", nullptr},
      {"generate", "text from a language model", "", nullptr},
      {"chat", "a conversation with a language model", "", nullptr},
      {"serve", "an HTTP server for a language model", "", nullptr},
      {"logits", "logits of every position of a token sequence", "", nullptr},
      {"perplexity", "perplexity of a text", "", nullptr},
      {"edit", "rename, combine and extract parts of a package", "", nullptr},
      {"split", "a chain of smaller packages", "", nullptr},
      {"doctor", "what this machine can do", "", nullptr},
  };
  return all;
}

}  // namespace pomona::cli
