#include "ir/text_lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace pomona {
namespace {

bool begins_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool continues_word(char c) { return begins_word(c) || (c >= '0' && c <= '9') || c == '@' || c == '.'; }
bool in_number(char c) { return continues_word(c) || c == '+' || c == '-'; }

}  // namespace

void TextLexer::skip_spaces() {
  while (at_ < text_.size()) {
    if (text_.substr(at_, 2) == "//")
      at_ = std::min(text_.find('\n', at_), text_.size());
    else if (std::string_view(" \t\r\n").find(text_[at_]) == std::string_view::npos)
      return;
    else
      ++at_;
  }
}

Error TextLexer::wrong(const std::string& what) const {
  std::string_view before = text_.substr(0, at_);
  auto line = std::count(before.begin(), before.end(), '\n') + 1;
  std::size_t column = at_ - (before.rfind('\n') + 1) + 1;
  return fail("line {}, column {}: {}", line, column, what);
}

bool TextLexer::accept(std::string_view sign) {
  if (text_.substr(at_, sign.size()) != sign) return false;
  at_ += sign.size();
  skip_spaces();
  return true;
}
Status TextLexer::expect(std::string_view sign) {
  if (accept(sign)) return {};
  return wrong(fmt::format("'{}' is expected, not '{}'", sign, text_.substr(at_, 12)));
}
bool TextLexer::peek_word() const { return !at_end() && begins_word(text_[at_]); }

Result<std::string_view> TextLexer::word() {
  if (!peek_word()) return wrong(fmt::format("a name is expected, not '{}'", text_.substr(at_, 12)));
  std::size_t begin = at_;
  while (at_ < text_.size() && continues_word(text_[at_])) ++at_;
  std::string_view word = text_.substr(begin, at_ - begin);
  skip_spaces();
  return word;
}

Result<std::string> TextLexer::string() {
  if (peek() != '"') return wrong(fmt::format("a string is expected, not '{}'", text_.substr(at_, 12)));
  std::string value;
  for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
    if (text_[at_] != '\\') {
      value += text_[at_];
      continue;
    }
    if (++at_ == text_.size()) break;
    unsigned code = 0;
    if (text_[at_] == 'x' && at_ + 2 < text_.size() &&
        std::from_chars(text_.data() + at_ + 1, text_.data() + at_ + 3, code, 16).ec == std::errc()) {
      value += char(code);
      at_ += 2;
    } else {
      value += text_[at_] == 'n' ? '\n' : text_[at_];
    }
  }
  if (at_end()) return wrong("a string has no end");
  ++at_;
  skip_spaces();
  return value;
}

Result<std::string_view> TextLexer::number() {
  std::size_t begin = at_;
  while (at_ < text_.size() && in_number(text_[at_])) ++at_;
  if (at_ == begin) return wrong(fmt::format("a number is expected, not '{}'", text_.substr(at_, 12)));
  std::string_view digits = text_.substr(begin, at_ - begin);
  skip_spaces();
  return digits;
}

Result<std::int64_t> TextLexer::integer() {
  std::size_t begin = at_;
  std::string_view digits = POM_TRY(number());
  std::int64_t value = 0;
  auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (status == std::errc() && end == digits.data() + digits.size()) return value;
  at_ = begin;
  return wrong(fmt::format("'{}' is not an integer", digits));
}

Result<std::string_view> TextLexer::until(char end) {
  std::size_t close = text_.find(end, at_);
  if (close == text_.npos) return wrong(fmt::format("there is no '{}'", end));
  std::string_view inside = text_.substr(at_, close - at_);
  at_ = close + 1;
  skip_spaces();
  return inside;
}

}  // namespace pomona
