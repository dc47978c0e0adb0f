#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "llm/tokenizers/parts.h"
#include "llm/tokenizers/pattern.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm {
namespace {

using Tokens = std::vector<std::string>;

// Printable characters of Latin-1 stand for themselves, the other bytes for what follows U+00FF.
std::array<Character, 256> make_byte_table() {
  std::array<Character, 256> table{};
  Character next = 256;
  for (int b = 0; b < 256; ++b) {
    bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    table[std::size_t(b)] = printable ? b : next++;
  }
  return table;
}
const std::array<Character, 256>& byte_table() {
  static const auto table = make_byte_table();
  return table;
}

void join(Tokens& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens = {std::move(all)};
}

void replace_in(std::string& text, std::string_view what, std::string_view with) {
  if (what.empty()) return;
  for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += with.size())
    text.replace(at, what.size(), with);
}

void byte_level(Tokens& tokens) {
  for (std::string& token : tokens)
    if (auto bytes = bytes_of_characters(token)) token = std::move(*bytes);
  join(tokens);
}

void byte_fallback(Tokens& tokens) {
  for (std::string& token : tokens)
    if (auto byte = byte_of_token(token)) token.assign(1, *byte);
}

Decoder metaspace(const Json& json) {
  std::string mark = text_field(json, "replacement", "\xE2\x96\x81");
  bool prepended =
      text_field(json, "prepend_scheme", flag_field(json, "add_prefix_space", true) ? "always" : "never") != "never";
  return [mark, prepended](Tokens& tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) replace_in(tokens[i], mark, i == 0 && prepended ? "" : " ");
  };
}

// How the word pieces of English are written without the spaces that parted them.
void clean_up(std::string& text) {
  for (auto [what, with] : {std::pair{" .", "."},
                            {" ?", "?"},
                            {" !", "!"},
                            {" ,", ","},
                            {" ' ", "'"},
                            {" n't", "n't"},
                            {" 'm", "'m"},
                            {" do not", " don't"},
                            {" 's", "'s"},
                            {" 've", "'ve"},
                            {" 're", "'re"}})
    replace_in(text, what, with);
}

Decoder word_piece(const Json& json) {
  return [prefix = text_field(json, "prefix", "##"), clean = flag_field(json, "cleanup", true)](Tokens& tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i && tokens[i].starts_with(prefix))
        tokens[i].erase(0, prefix.size());
      else if (i)
        tokens[i].insert(0, 1, ' ');
      if (clean) clean_up(tokens[i]);
    }
  };
}

Decoder strip(const Json& json) {
  auto count = [&](const char* key) { return json.contains(key) && json[key].is_number() ? json[key].get<int>() : 0; };
  return [what = text_field(json, "content", " "), start = count("start"), stop = count("stop")](Tokens& tokens) {
    for (std::string& token : tokens) {
      for (int i = 0; i < start && !what.empty() && token.starts_with(what); ++i) token.erase(0, what.size());
      for (int i = 0; i < stop && !what.empty() && token.ends_with(what); ++i) token.resize(token.size() - what.size());
    }
  };
}

Result<Decoder> replace(const Json& json) {
  Pattern pattern = POM_TRY(pattern_field(json.value("pattern", Json())));
  return Decoder([pattern, with = text_field(json, "content")](Tokens& tokens) {
    // Bytes that are no UTF-8 are no text to match in.
    for (std::string& token : tokens)
      if (valid_utf8(token) == token)
        if (auto replaced = pattern.replace_all(token, with)) token = std::move(*replaced);
  });
}

Decoder bpe(const Json& json) {
  return [suffix = text_field(json, "suffix", "</w>")](Tokens& tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) replace_in(tokens[i], suffix, i + 1 < tokens.size() ? " " : "");
  };
}

}  // namespace

std::string byte_characters(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (char c : bytes) append(text, byte_table()[static_cast<unsigned char>(c)]);
  return text;
}

std::optional<std::string> bytes_of_characters(std::string_view text) {
  static const auto bytes = [] {
    std::unordered_map<Character, char> map;
    for (std::size_t b = 0; b < 256; ++b) map.emplace(byte_table()[b], char(b));
    return map;
  }();
  std::string result;
  for (Character c : characters(text)) {
    auto at = bytes.find(c);
    if (at == bytes.end()) return std::nullopt;
    result += at->second;
  }
  return result;
}

std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  int value = 0;
  for (char c : token.substr(3, 2)) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + digit;
  }
  return char(value);
}

Result<Decoder> decoder_of(const Json& json) {
  // Without a decoder, tokens are words.
  if (json.is_null())
    return Decoder([](Tokens& tokens) {
      for (std::size_t i = 1; i < tokens.size(); ++i) tokens[i].insert(0, 1, ' ');
    });
  std::string kind = text_field(json, "type");
  if (kind == "Sequence") {
    std::vector<Decoder> all;
    for (const Json& part : json.value("decoders", Json::array())) all.push_back(POM_TRY(decoder_of(part)));
    return Decoder([all](Tokens& tokens) {
      for (const Decoder& one : all) one(tokens);
    });
  }
  if (kind == "ByteLevel") return Decoder(byte_level);
  if (kind == "ByteFallback") return Decoder(byte_fallback);
  if (kind == "Fuse") return Decoder(join);
  if (kind == "Metaspace") return metaspace(json);
  if (kind == "WordPiece") return word_piece(json);
  if (kind == "Strip") return strip(json);
  if (kind == "Replace") return replace(json);
  if (kind == "BPEDecoder") return bpe(json);
  return fail("the decoder '{}' is not known", kind);
}

}  // namespace pomona::llm
