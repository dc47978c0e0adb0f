#include "llm/tokenizers/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

namespace pomona::llm {
namespace {

constexpr Character replacement = 0xFFFD;

const utf8proc_uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

}  // namespace

std::vector<Character> characters(std::string_view text) {
  std::vector<Character> all;
  all.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    Character c = 0;
    utf8proc_ssize_t length = utf8proc_iterate(bytes_of(text) + at, utf8proc_ssize_t(text.size() - at), &c);
    all.push_back(length > 0 ? c : replacement);
    at += std::size_t(std::max<utf8proc_ssize_t>(length, 1));
  }
  return all;
}

void append(std::string& text, Character c) {
  utf8proc_uint8_t bytes[4];
  utf8proc_ssize_t length = utf8proc_encode_char(c, bytes);
  text.append(reinterpret_cast<const char*>(bytes), std::size_t(length));
}

std::string utf8(Character c) {
  std::string text;
  append(text, c);
  return text;
}

std::string utf8(const std::vector<Character>& text) {
  std::string result;
  result.reserve(text.size());
  for (Character c : text) append(result, c);
  return result;
}

std::string valid_utf8(std::string_view bytes) {
  std::string result;
  result.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    Character c = 0;
    utf8proc_ssize_t length = utf8proc_iterate(bytes_of(bytes) + at, utf8proc_ssize_t(bytes.size() - at), &c);
    append(result, length > 0 ? c : replacement);
    at += std::size_t(std::max<utf8proc_ssize_t>(length, 1));
  }
  return result;
}

std::size_t character_length(char first) {
  auto byte = static_cast<unsigned char>(first);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : byte < 0xF8 ? 4 : 1;
}

std::size_t unfinished_bytes(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    char c = text[text.size() - back];
    if ((c & 0xC0) == 0x80) continue;
    return character_length(c) > back ? back : 0;
  }
  return 0;
}

std::string normalised(const std::string& text, Form form) {
  bool compatible = form == Form::NFKC || form == Form::NFKD, compose = form == Form::NFC || form == Form::NFKC;
  int options = UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
  if (compatible) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* made = nullptr;
  utf8proc_ssize_t length =
      utf8proc_map(bytes_of(text), utf8proc_ssize_t(text.size()), &made, static_cast<utf8proc_option_t>(options));
  if (length < 0) return text;
  std::string result(reinterpret_cast<char*>(made), std::size_t(length));
  std::free(made);
  return result;
}

std::string lower_case(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (Character c : characters(text)) {
    // The only character whose lower case is two.
    if (c == 0x130)
      result += "i\xCC\x87";
    else
      append(result, utf8proc_tolower(c));
  }
  return result;
}

std::string upper_case(std::string_view text) {
  std::string result;
  for (Character c : characters(text)) append(result, utf8proc_toupper(c));
  return result;
}

std::string without_marks(std::string_view text, bool nonspacing_only) {
  std::string result;
  for (Character c : characters(text))
    if (nonspacing_only ? utf8proc_category(c) != UTF8PROC_CATEGORY_MN : !is_mark(c)) append(result, c);
  return result;
}

std::vector<std::string> graphemes(std::string_view text) {
  std::vector<std::string> result;
  utf8proc_int32_t state = 0;
  Character last = 0;
  for (Character c : characters(text)) {
    if (result.empty() || utf8proc_grapheme_break_stateful(last, c, &state)) result.emplace_back();
    append(result.back(), c);
    last = c;
  }
  return result;
}

bool is_white_space(Character c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
bool is_mark(Character c) {
  auto category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}
bool is_numeric(Character c) {
  auto category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}
bool is_other(Character c) { return utf8proc_category(c) >= UTF8PROC_CATEGORY_CC; }
bool is_word(Character c) {
  auto category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_PC;
}
bool is_punctuation(Character c) {
  if (c < 128) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  auto category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}
bool is_chinese(Character c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

}  // namespace pomona::llm
