// Text to a model's token ids and back.
//
//   TokenizeReport report = POM_TRY(tokenize("tokenizer.json", {.text = Strings{"Hello"}}));
//   report.ids
#pragma once
#include "base/record.h"
#include "llm/tokenizer.h"

namespace pomona::api {

struct TokenizeOptions {
  POM_OPTION(text, std::string, "the text");
  POM_OPTION(file, std::string, "a file with the text");
  POM_OPTION(decode, std::string, "token ids, to become text: 504,3575,...");
  POM_OPTION(raw, bool, "add no special tokens around the text");
  POM_OPTION(plain, bool, "special tokens written in the text are plain text");
};
struct TokenizeReport {
  std::vector<int> ids;
  std::vector<std::string> tokens;
  std::string text;  // what the ids are decoded to, special tokens included
};
// MODEL: a tokenizer.json, a .model, a tiktoken file, vocab.txt, a folder with one, or a model that has a tokenizer.
Result<TokenizeReport> tokenize(const std::string& path, const TokenizeOptions& options);

// "504, 3575" as ids.
Result<std::vector<int>> ids_of_text(std::string_view text);

}  // namespace pomona::api
