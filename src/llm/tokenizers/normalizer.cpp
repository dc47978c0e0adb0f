#include <algorithm>
#include <nlohmann/json.hpp>

#include "llm/tokenizers/parts.h"
#include "llm/tokenizers/pattern.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm {
namespace {

Normalizer pure(std::function<std::string(const std::string&)> f) {
  return [f = std::move(f)](std::string text) -> Result<std::string> { return f(text); };
}

std::string stripped(const std::string& text, bool left, bool right) {
  std::vector<Character> all = characters(text);
  auto begin = all.begin(), end = all.end();
  while (left && begin != end && is_white_space(*begin)) ++begin;
  while (right && begin != end && is_white_space(*(end - 1))) --end;
  return utf8(std::vector<Character>(begin, end));
}

// SentencePiece's clean-up of web text: controls go, what parts words is a space.
std::string nmt(const std::string& text) {
  std::string result;
  for (Character c : characters(text)) {
    bool control = (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
    bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                 c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
    if (!control) append(result, space ? ' ' : c);
  }
  return result;
}

struct BertNormalizer {
  bool clean = true, chinese = true, accents = true, lower = true;

  std::string operator()(const std::string& text) const {
    std::string result;
    for (Character c : characters(text)) {
      if (clean) {
        bool layout = c == '\t' || c == '\n' || c == '\r';
        if (c == 0 || c == 0xFFFD || (is_other(c) && !layout)) continue;
        if (is_white_space(c)) c = ' ';
      }
      bool alone = chinese && is_chinese(c);
      if (alone) result += ' ';
      append(result, c);
      if (alone) result += ' ';
    }
    if (accents) result = without_marks(normalised(result, Form::NFD), true);
    return lower ? lower_case(result) : result;
  }
};

Result<Normalizer> sequence(const Json& json) {
  std::vector<Normalizer> all;
  for (const Json& part : json.value("normalizers", Json::array())) all.push_back(POM_TRY(normalizer_of(part)));
  return Normalizer([all](std::string text) -> Result<std::string> {
    for (const Normalizer& one : all) text = POM_TRY(one(std::move(text)));
    return text;
  });
}

Result<Normalizer> replace(const Json& json) {
  Pattern pattern = POM_TRY(pattern_field(json.value("pattern", Json())));
  return Normalizer([pattern, with = text_field(json, "content")](std::string text) -> Result<std::string> {
    return pattern.replace_all(text, with);
  });
}

Result<std::string> from_base64(std::string_view text) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t held = 0;
  int bits = 0;
  for (char c : text) {
    if (c == '=' || c == '\n') continue;
    std::size_t digit = digits.find(c);
    POM_REQUIRE(digit != digits.npos, "a table in base64 has the character '{}'", c);
    held = held << 6 | std::uint32_t(digit);
    bits += 6;
    if (bits >= 8) bytes += char(held >> (bits -= 8) & 0xFF);
  }
  return bytes;
}

Result<Normalizer> bert(const Json& json) {
  BertNormalizer part;
  part.clean = flag_field(json, "clean_text", true);
  part.chinese = flag_field(json, "handle_chinese_chars", true);
  part.lower = flag_field(json, "lowercase", true);
  part.accents = flag_field(json, "strip_accents", part.lower);
  return pure(part);
}

}  // namespace

Result<Normalizer> normalizer_of(const Json& json) {
  if (json.is_null()) return pure([](const std::string& text) { return text; });
  std::string kind = text_field(json, "type");
  if (kind == "Sequence") return sequence(json);
  if (kind == "Replace") return replace(json);
  if (kind == "BertNormalizer") return bert(json);
  if (kind == "Lowercase") return pure(lower_case);
  if (kind == "StripAccents") return pure([](const std::string& text) { return without_marks(text, false); });
  if (kind == "Nmt") return pure(nmt);
  if (kind == "ByteLevel") return pure(byte_characters);
  for (auto [name, form] :
       {std::pair{"NFC", Form::NFC}, {"NFD", Form::NFD}, {"NFKC", Form::NFKC}, {"NFKD", Form::NFKD}})
    if (kind == name) return pure([form](const std::string& text) { return normalised(text, form); });
  if (kind == "Prepend")
    return pure(
        [with = text_field(json, "prepend")](const std::string& text) { return text.empty() ? text : with + text; });
  if (kind == "Strip")
    return pure([left = flag_field(json, "strip_left", true), right = flag_field(json, "strip_right", true)](
                    const std::string& text) { return stripped(text, left, right); });
  if (kind == "Precompiled") {
    std::string table = POM_TRY(from_base64(text_field(json, "precompiled_charsmap")));
    return precompiled(std::move(table), flag_field(json, "longest", false));
  }
  return fail("the normalizer '{}' is not known", kind);
}

std::string text_field(const Json& json, const char* key, const std::string& otherwise) {
  if (!json.is_object()) return otherwise;
  auto at = json.find(key);
  return at != json.end() && at->is_string() ? at->get<std::string>() : otherwise;
}
bool flag_field(const Json& json, const char* key, bool otherwise) {
  if (!json.is_object()) return otherwise;
  auto at = json.find(key);
  return at != json.end() && at->is_boolean() ? at->get<bool>() : otherwise;
}
Result<Pattern> pattern_field(const Json& json) {
  if (json.is_string()) return Pattern::literal(json.get<std::string>());
  if (std::string text = text_field(json, "String"); !text.empty()) return Pattern::literal(text);
  std::string expression = text_field(json, "Regex");
  POM_REQUIRE(!expression.empty(), "a pattern is neither a String nor a Regex");
  return Pattern::regular(expression);
}

}  // namespace pomona::llm
