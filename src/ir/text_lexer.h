// Words, numbers, strings and signs of MIL text, with their places. Part of the parser in text_parser.cpp.
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"

namespace pomona {

class TextLexer {
 public:
  explicit TextLexer(std::string_view text) : text_(text) { skip_spaces(); }

  bool at_end() const { return at_ == text_.size(); }
  // True, and one step on, when the next sign (or signs) is this.
  bool accept(std::string_view sign);
  Status expect(std::string_view sign);
  // The next character, 0 at the end.
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool peek_word() const;
  // [A-Za-z_][A-Za-z0-9_@.]*
  Result<std::string_view> word();
  Result<std::string> string();
  // The characters of a number; true, false, inf and nan count as such.
  Result<std::string_view> number();
  Result<std::int64_t> integer();
  // Everything up to a character, which is taken too.
  Result<std::string_view> until(char end);
  // Goes back to a place remembered before.
  std::size_t place() const { return at_; }
  void return_to(std::size_t place) { at_ = place; }
  // "line 3, column 7: WHAT"
  Error wrong(const std::string& what) const;

 private:
  void skip_spaces();
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace pomona
