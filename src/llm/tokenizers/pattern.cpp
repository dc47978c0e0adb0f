#include "llm/tokenizers/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "llm/tokenizers/unicode.h"

namespace pomona::llm {
namespace {

constexpr std::uint32_t match_limit = 20'000'000;
constexpr std::size_t largest_stack = std::size_t{16} << 20;  // of compiled expressions; pages come as they are used

// What Oniguruma means by \s and \w, as members of a class.
constexpr std::string_view spaces =
    R"(\x09-\x0D\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view word_characters = R"(\p{Alphabetic}\p{M}\p{N}\p{Pc})";

// \b and \B by these characters: PCRE2's own leave marks out.
std::string word_boundary(bool negated) {
  auto sides = [](const char* before, const char* after) {
    return fmt::format("(?<{}[{}])(?{}[{}])", before, word_characters, after, word_characters);
  };
  return negated ? fmt::format("(?:{}|{})", sides("=", "="), sides("!", "!"))
                 : fmt::format("(?:{}|{})", sides("=", "!"), sides("!", "="));
}

// Of the properties with long names, scripts: PCRE2 would take \p{Han} for "used with Han" otherwise.
bool is_script(std::string_view name) {
  for (std::string_view script : {"Han", "Hiragana", "Katakana", "Hangul", "Latin", "Cyrillic", "Greek", "Arabic",
                                  "Hebrew", "Thai", "Devanagari", "Armenian", "Georgian", "Bengali", "Tamil"})
    if (name == script) return true;
  return false;
}

Result<std::string> translated(std::string_view expression) {
  std::string result;
  int depth = 0;  // of classes
  for (std::size_t i = 0; i < expression.size(); ++i) {
    char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      char next = expression[++i];
      std::string_view members = next == 's' || next == 'S'   ? spaces
                                 : next == 'w' || next == 'W' ? word_characters
                                                              : "";
      bool negated = next == 'S' || next == 'W';
      if (!members.empty() && !(depth && negated)) {
        result += depth ? std::string(members) : fmt::format("[{}{}]", negated ? "^" : "", members);
        continue;
      }
      if (!depth && (next == 'b' || next == 'B')) {
        result += word_boundary(next == 'B');
        continue;
      }
      result += c;
      result += next;
      std::size_t close = expression.find('}', i);
      if ((next == 'p' || next == 'P') && expression.substr(i + 1).starts_with('{') && close != expression.npos &&
          is_script(expression.substr(i + 2, close - i - 2))) {
        result += "{sc:";
        ++i;
      }
      continue;
    }
    POM_REQUIRE(!(depth && expression.substr(i).starts_with("&&")),
                "the regular expression '{}' intersects classes (&&), which is not known here", expression);
    if (depth && expression.substr(i).starts_with("[:")) {
      std::size_t close = std::min(expression.find(":]", i), expression.size() - 2);
      result += expression.substr(i, close + 2 - i);
      i = close + 1;
      continue;
    }
    // A class within a class is a union; PCRE2 would take its bracket for a character.
    bool inner = (c == '[' && depth) || (c == ']' && depth > 1);
    POM_REQUIRE(!(c == '[' && depth && expression.substr(i).starts_with("[^")),
                "the regular expression '{}' has a negated class within a class, which is not known here", expression);
    if (c == '[') ++depth;
    if (c == ']' && depth) --depth;
    if (inner) continue;
    result += c;
  }
  return result;
}

using Code = pcre2_code;

// Matching needs room that is made once for each thread.
struct Room {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(std::size_t{32} << 10, largest_stack, nullptr);
  Room() {
    pcre2_set_match_limit(context, match_limit);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Room() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

std::string message_of(int code) {
  PCRE2_UCHAR text[200];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

Result<Pattern> Pattern::regular(std::string_view expression) {
  std::string text = POM_TRY(translated(expression));
  auto* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE place = 0;
  Code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &place, context);
  pcre2_compile_context_free(context);
  POM_REQUIRE(code, "the regular expression '{}' cannot be compiled: {}", expression, message_of(error));
  // Where there is no just-in-time compiler, matching interprets.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  Pattern pattern;
  pattern.text_ = expression;
  pattern.code_ = std::shared_ptr<const void>(code, [](Code* c) { pcre2_code_free(c); });
  return pattern;
}

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.text_ = std::move(text);
  return pattern;
}

Result<std::vector<Span>> Pattern::find_all(std::string_view text) const {
  std::vector<Span> found;
  if (!code_) {
    if (text_.empty()) return found;
    for (std::size_t at = 0; (at = text.find(text_, at)) != text.npos; at += text_.size())
      found.push_back({at, at + text_.size()});
    return found;
  }
  thread_local Room room;
  auto* code = static_cast<const Code*>(code_.get());
  for (std::size_t at = 0; at < text.size();) {
    int count = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at, PCRE2_NO_UTF_CHECK,
                            room.data, room.context);
    if (count == PCRE2_ERROR_NOMATCH) break;
    POM_REQUIRE(count >= 0, "the regular expression '{}' gives up on the text: {}", text_, message_of(count));
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(room.data);
    if (ends[1] > ends[0]) found.push_back({ends[0], ends[1]});
    at = ends[1] > ends[0] ? ends[1] : ends[1] + (ends[1] < text.size() ? character_length(text[ends[1]]) : 1);
  }
  return found;
}

Result<std::string> Pattern::replace_all(std::string_view text, std::string_view with) const {
  std::string result;
  std::size_t done = 0;
  for (Span span : POM_TRY(find_all(text))) {
    result.append(text, done, span.begin - done);
    result += with;
    done = span.end;
  }
  result.append(text, done);
  return result;
}

}  // namespace pomona::llm
