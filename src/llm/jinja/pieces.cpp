#include <algorithm>

#include "llm/jinja/syntax.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm::jinja {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

void strip_end(std::string& text) {
  while (!text.empty() && is_blank(text.back())) text.pop_back();
}

// Where the delimiter that closes this one begins; strings may hold it, and mappings within mappings look like it.
std::size_t closing(std::string_view source, std::size_t at, std::string_view close, bool strings) {
  char quote = 0;
  int depth = 0;
  for (; at < source.size(); ++at) {
    char c = source[at];
    if (quote) {
      if (c == '\\')
        ++at;
      else if (c == quote)
        quote = 0;
    } else if (strings && (c == '"' || c == '\'')) {
      quote = c;
    } else if (depth == 0 && source.substr(at).starts_with(close)) {
      return at;
    } else if (strings) {
      depth += c == '{' || c == '[' || c == '(';
      depth -= (c == '}' || c == ']' || c == ')') && depth > 0;
    }
  }
  return source.npos;
}

class Splitter {
 public:
  explicit Splitter(std::string_view source) : source_(source) {}

  Result<std::vector<Piece>> run() {
    while (at_ < source_.size()) {
      std::size_t open = next_opening(at_);
      std::string text(source_.substr(at_, open - at_));
      if (open >= source_.size()) {
        add_text(std::move(text));
        break;
      }
      POM_TRY(take(std::move(text), open));
    }
    return std::move(pieces_);
  }

 private:
  std::size_t next_opening(std::size_t at) const {
    for (; at + 1 < source_.size(); ++at)
      if (source_[at] == '{' && (source_[at + 1] == '{' || source_[at + 1] == '%' || source_[at + 1] == '#')) return at;
    return source_.size();
  }
  std::size_t line() const {
    return 1 + std::size_t(std::count(source_.begin(), source_.begin() + std::ptrdiff_t(at_), '\n'));
  }
  void add_text(std::string text) {
    if (strip_next_) {
      std::size_t first = 0;
      while (first < text.size() && is_blank(text[first])) ++first;
      text.erase(0, first);
    }
    strip_next_ = false;
    if (!text.empty()) pieces_.push_back({Piece::Kind::text, std::move(text), line()});
  }

  // The tag at `open`, with the text before it.
  Status take(std::string text, std::size_t open) {
    char kind = source_[open + 1];
    std::size_t begin = open + 2;
    char sign = begin < source_.size() ? source_[begin] : ' ';
    if (sign == '-' || sign == '+') ++begin;
    std::string close = kind == '{' ? "}}" : kind == '%' ? "%}" : "#}";
    std::size_t end = closing(source_, begin, close, kind != '#');
    POM_REQUIRE(end != source_.npos, "line {}: '{{{}' is not closed", line(), kind);
    if (sign == '-')
      strip_end(text);
    else if (kind != '{' && sign != '+')
      strip_blanks_of_line(text);
    add_text(std::move(text));
    at_ = open;
    std::size_t here = line();
    std::string inner(source_.substr(begin, end - begin));
    bool strips = !inner.empty() && inner.back() == '-', keeps = !inner.empty() && inner.back() == '+';
    if (strips || keeps) inner.pop_back();
    at_ = end + 2;
    strip_next_ = strips;
    line_starts_ = false;
    // The line break after a block goes with it.
    bool raw = kind == '%' && word(inner) == "raw";
    if (kind != '{' && !raw && !strips && !keeps && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
      line_starts_ = true;
    }
    if (kind == '#') return {};
    if (raw) return take_raw();
    pieces_.push_back({kind == '{' ? Piece::Kind::output : Piece::Kind::block, std::move(inner), here});
    return {};
  }

  void strip_blanks_of_line(std::string& text) const {
    std::size_t line = text.rfind('\n');
    line = line == text.npos ? 0 : line + 1;
    bool starts = line > 0 || line_starts_;
    if (starts && text.find_first_not_of(" \t", line) == text.npos) text.resize(line);
  }

  static std::string word(const std::string& text) {
    std::size_t begin = text.find_first_not_of(" \t\n\r"), end = text.find_last_not_of(" \t\n\r");
    return begin == text.npos ? "" : text.substr(begin, end - begin + 1);
  }

  Status take_raw() {
    for (std::size_t at = at_; (at = source_.find("{%", at)) != source_.npos; ++at) {
      std::size_t close = source_.find("%}", at);
      if (close == source_.npos) break;
      std::string inner(source_.substr(at + 2, close - at - 2));
      bool strips_before = inner.starts_with('-');
      inner.erase(0, strips_before);
      bool strips_after = inner.ends_with('-');
      if (strips_after) inner.pop_back();
      if (word(inner) != "endraw") continue;
      std::string text(source_.substr(at_, at - at_));
      if (strips_before) strip_end(text);
      add_text(std::move(text));
      at_ = close + 2;
      strip_next_ = strips_after;
      if (!strips_after && at_ < source_.size() && source_[at_] == '\n') ++at_;
      return {};
    }
    return fail("line {}: 'raw' is not closed", line());
  }

  std::string_view source_;
  std::size_t at_ = 0;
  bool strip_next_ = false, line_starts_ = true;
  std::vector<Piece> pieces_;
};

Result<std::string> unescaped(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 >= text.size()) {
      result += text[i];
      continue;
    }
    char c = text[++i];
    std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits && i + digits < text.size() + 0) {
      append(result, Character(std::strtol(std::string(text.substr(i + 1, digits)).c_str(), nullptr, 16)));
      i += digits;
      continue;
    }
    constexpr std::string_view letters = "ntr0bfv\\'\"", meant("\n\t\r\0\b\f\v\\'\"", 10);
    std::size_t which = letters.find(c);
    if (which != letters.npos)
      result += meant[which];
    else if (c != '\n')
      (result += '\\') += c;
  }
  return result;
}

bool begins_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool is_digit(char c);
// Behind "e-7", if that stands at `at`.
std::size_t end_of_exponent(std::string_view text, std::size_t at) {
  std::size_t end = at;
  if (end >= text.size() || (text[end] != 'e' && text[end] != 'E')) return at;
  ++end;
  if (end < text.size() && (text[end] == '+' || text[end] == '-')) ++end;
  if (end >= text.size() || !is_digit(text[end])) return at;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end;
}
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)); }

}  // namespace

Result<std::vector<Piece>> pieces_of(std::string_view source) {
  if (source.ends_with('\n')) source.remove_suffix(1);
  return Splitter(source).run();
}

Result<std::vector<Token>> tokens_of(std::string_view text) {
  std::vector<Token> tokens;
  for (std::size_t at = 0; at < text.size();) {
    char c = text[at];
    std::size_t end = at + 1;
    if (is_blank(c)) {
      ++at;
      continue;
    }
    if (c == '"' || c == '\'') {
      while (end < text.size() && text[end] != c) end += text[end] == '\\' ? 2 : 1;
      POM_REQUIRE(end < text.size(), "a text is not closed in '{}'", text);
      tokens.push_back({Token::Kind::string, POM_TRY(unescaped(text.substr(at + 1, end - at - 1)))});
      at = end + 1;
      continue;
    }
    Token::Kind kind = Token::Kind::symbol;
    if (begins_name(c)) {
      kind = Token::Kind::name;
      while (end < text.size() && (begins_name(text[end]) || is_digit(text[end]))) ++end;
    } else if (is_digit(c)) {
      kind = Token::Kind::integer;
      while (end < text.size() && (is_digit(text[end]) || text[end] == '_')) ++end;
      if (end + 1 < text.size() && text[end] == '.' && is_digit(text[end + 1])) {
        kind = Token::Kind::real;
        for (++end; end < text.size() && is_digit(text[end]);) ++end;
      }
      if (std::size_t exponent = end_of_exponent(text, end); exponent > end) {
        kind = Token::Kind::real;
        end = exponent;
      }
      std::string number(text.substr(at, end - at));
      std::erase(number, '_');
      tokens.push_back({kind, std::move(number)});
      at = end;
      continue;
    } else {
      for (std::string_view two : {"==", "!=", "<=", ">=", "//", "**"})
        if (text.substr(at).starts_with(two)) end = at + 2;
      POM_REQUIRE(std::string_view("+-*/%~=!<>.,:|()[]{}").find(c) != std::string_view::npos,
                  "the character '{}' is not known in '{}'", c, text);
    }
    tokens.push_back({kind, std::string(text.substr(at, end - at))});
    at = end;
  }
  tokens.emplace_back();
  return tokens;
}

}  // namespace pomona::llm::jinja
