// Patterns of tokenizers: a literal text, or a regular expression as Oniguruma reads it, matched by PCRE2.
//
//   Pattern words = POM_TRY(Pattern::regular(R"(\p{L}+|\s+)"));
//   for (Span s : POM_TRY(words.find_all(text))) ...            // in order, not overlapping, never empty
//
// The two engines differ in what \s and \w hold and in where ^ and $ match: expressions are rewritten for that.
// Matching has a limit, so that an expression which backtracks without end is an error and not a hang.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pomona::llm {

struct Span {
  std::size_t begin = 0, end = 0;
};

class Pattern {
 public:
  static Result<Pattern> regular(std::string_view expression);
  static Pattern literal(std::string text);

  Result<std::vector<Span>> find_all(std::string_view text) const;
  Result<std::string> replace_all(std::string_view text, std::string_view with) const;

 private:
  std::shared_ptr<const void> code_;  // of PCRE2; absent: a literal
  std::string text_;
};

}  // namespace pomona::llm
