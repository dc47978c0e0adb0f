#include "llm/wordpiece.h"

#include <utf8proc.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/bytes.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;
using Character = utf8proc_int32_t;
constexpr Character replacement = 0xFFFD;

std::vector<Character> characters(std::string_view text) {
  std::vector<Character> all;
  auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (std::size_t at = 0; at < text.size();) {
    Character c = 0;
    utf8proc_ssize_t length = utf8proc_iterate(bytes + at, utf8proc_ssize_t(text.size() - at), &c);
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

// The property White_Space.
bool is_space(Character c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
bool is_control(Character c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS:
      return true;
    default:
      return false;
  }
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

// Canonical decomposition, marks of accents dropped.
std::vector<Character> without_accents(const std::vector<Character>& text) {
  std::vector<Character> result;
  for (Character c : text) {
    Character parts[16];
    int boundary = 0;
    auto count = utf8proc_decompose_char(c, parts, 16, UTF8PROC_DECOMPOSE, &boundary);
    if (count < 1 || count > 16) {
      result.push_back(c);
      continue;
    }
    for (utf8proc_ssize_t i = 0; i < count; ++i)
      if (utf8proc_category(parts[i]) != UTF8PROC_CATEGORY_MN) result.push_back(parts[i]);
  }
  return result;
}

std::string text_at(const Json& json, const char* key, const std::string& fallback) {
  return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : fallback;
}
bool flag_at(const Json& json, const char* key, bool fallback) {
  return json.is_object() && json.contains(key) && json[key].is_boolean() ? json[key].get<bool>() : fallback;
}

}  // namespace

Result<WordPiece> WordPiece::load(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  std::string file = path;
  if (fs::is_directory(path, ignored)) {
    file = (fs::path(path) / "tokenizer.json").string();
    if (!fs::exists(file, ignored)) file = (fs::path(path) / "vocab.txt").string();
    POM_REQUIRE(fs::exists(file, ignored), "the folder '{}' has neither tokenizer.json nor vocab.txt", path);
  }
  Bytes bytes = POM_TRY(map_file(file));
  std::size_t first = bytes.text().find_first_not_of(" \t\r\n");
  bool json = first != std::string_view::npos && bytes.text()[first] == '{';
  return POM_TRY_IN(json ? from_json(bytes.text()) : from_vocabulary(bytes.text()), "tokenizer '{}'", file);
}

Result<WordPiece> WordPiece::from_vocabulary(std::string_view text) {
  WordPiece tokenizer;
  bool capitals = false;
  int id = 0;
  for (std::size_t begin = 0; begin < text.size(); ++id) {
    std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string piece(text.substr(begin, end - begin));
    if (!piece.empty() && piece.back() == '\r') piece.pop_back();
    bool special = piece.starts_with('[') && piece.ends_with(']');
    capitals = capitals || (!special && piece.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != piece.npos);
    tokenizer.vocabulary_.emplace(std::move(piece), id);
    begin = end + 1;
  }
  tokenizer.lower_case_ = tokenizer.strip_accents_ = !capitals;
  POM_TRY(tokenizer.find_special_tokens());
  for (const char* token : {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"})
    if (auto at = tokenizer.vocabulary_.find(token); at != tokenizer.vocabulary_.end()) tokenizer.added_.insert(*at);
  return tokenizer;
}

Result<WordPiece> WordPiece::from_json(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  POM_REQUIRE(json.is_object(), "it is no valid JSON");
  Json model = json.value("model", Json()), normaliser = json.value("normalizer", Json()),
       splitter = json.value("pre_tokenizer", Json());
  std::string kind = text_at(model, "type", "none");
  POM_REQUIRE(kind == "WordPiece", "its model is {}, not WordPiece", kind);
  kind = text_at(normaliser, "type", "none");
  POM_REQUIRE(kind == "BertNormalizer", "its normalizer is {}, not BertNormalizer", kind);
  kind = text_at(splitter, "type", "none");
  POM_REQUIRE(kind == "BertPreTokenizer", "its pre-tokenizer is {}, not BertPreTokenizer", kind);
  POM_REQUIRE(model.contains("vocab") && model["vocab"].is_object(), "it has no vocabulary");
  WordPiece tokenizer;
  for (const auto& [piece, id] : model["vocab"].items()) {
    POM_REQUIRE(id.is_number_integer(), "the id of '{}' is no integer", piece);
    tokenizer.vocabulary_.emplace(piece, id.get<int>());
  }
  tokenizer.unknown_token_ = text_at(model, "unk_token", "[UNK]");
  tokenizer.prefix_ = text_at(model, "continuing_subword_prefix", "##");
  if (model.contains("max_input_chars_per_word") && model["max_input_chars_per_word"].is_number_unsigned())
    tokenizer.longest_word_ = model["max_input_chars_per_word"].get<std::size_t>();
  tokenizer.clean_ = flag_at(normaliser, "clean_text", true);
  tokenizer.chinese_ = flag_at(normaliser, "handle_chinese_chars", true);
  tokenizer.lower_case_ = flag_at(normaliser, "lowercase", true);
  tokenizer.strip_accents_ = flag_at(normaliser, "strip_accents", tokenizer.lower_case_);
  for (const Json& token : json.value("added_tokens", Json::array()))
    if (std::string content = text_at(token, "content", "");
        !content.empty() && token.contains("id") && token["id"].is_number_integer())
      tokenizer.added_[content] = token["id"].get<int>();
  POM_TRY(tokenizer.find_special_tokens());
  return tokenizer;
}

Status WordPiece::find_special_tokens() {
  auto find = [&](const std::string& token, int& id) -> Status {
    auto at = vocabulary_.find(token);
    POM_REQUIRE(at != vocabulary_.end(), "the vocabulary of {} pieces has no '{}'", vocabulary_.size(), token);
    id = at->second;
    return {};
  };
  POM_TRY(find(unknown_token_, unknown_));
  POM_TRY(find(begin_token_, begin_));
  POM_TRY(find(end_token_, end_));
  if (auto at = vocabulary_.find("[PAD]"); at != vocabulary_.end()) padding_ = at->second;
  return {};
}

std::string WordPiece::normalised(std::string_view text) const {
  std::vector<Character> all;
  for (Character c : characters(text)) {
    if (clean_) {
      if (c == 0 || c == replacement || is_control(c)) continue;
      if (is_space(c)) c = ' ';
    }
    bool alone = chinese_ && is_chinese(c);
    if (alone) all.push_back(' ');
    all.push_back(c);
    if (alone) all.push_back(' ');
  }
  if (strip_accents_) all = without_accents(all);
  std::string result;
  for (Character c : all) append(result, lower_case_ ? utf8proc_tolower(c) : c);
  return result;
}

void WordPiece::add_pieces(std::string_view word, std::vector<int>& ids) const {
  std::vector<std::size_t> starts;  // of its characters, and its end
  for (std::size_t i = 0; i < word.size(); ++i)
    if ((word[i] & 0xC0) != 0x80) starts.push_back(i);
  if (starts.size() > longest_word_) {
    ids.push_back(unknown_);
    return;
  }
  starts.push_back(word.size());
  std::vector<int> found;
  for (std::size_t first = 0; first + 1 < starts.size();) {
    std::size_t last = starts.size() - 1;
    auto at = vocabulary_.end();
    for (; last > first; --last) {
      std::string piece(word.substr(starts[first], starts[last] - starts[first]));
      at = vocabulary_.find(first ? prefix_ + piece : piece);
      if (at != vocabulary_.end()) break;
    }
    if (at == vocabulary_.end()) {
      ids.push_back(unknown_);
      return;
    }
    found.push_back(at->second);
    first = last;
  }
  ids.insert(ids.end(), found.begin(), found.end());
}

void WordPiece::add_words(std::string_view text, std::vector<int>& ids) const {
  std::string clean = normalised(text), word;
  auto flush = [&] {
    if (!word.empty()) add_pieces(word, ids);
    word.clear();
  };
  for (Character c : characters(clean)) {
    if (is_space(c) || is_punctuation(c)) flush();
    if (is_space(c)) continue;
    append(word, c);
    if (is_punctuation(c)) flush();
  }
  flush();
}

std::vector<int> WordPiece::ids_of(std::string_view text) const {
  std::vector<int> ids;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::pair<const std::string, int>* token = nullptr;
    for (const auto& added : added_)
      if (text.substr(at).starts_with(added.first) && (!token || added.first.size() > token->first.size()))
        token = &added;
    if (!token) {
      ++at;
      continue;
    }
    add_words(text.substr(begin, at - begin), ids);
    ids.push_back(token->second);
    begin = at += token->first.size();
  }
  add_words(text.substr(begin), ids);
  return ids;
}

std::vector<int> WordPiece::encode(std::string_view text, std::size_t most) const {
  std::vector<int> ids = ids_of(text);
  if (most >= 2 && ids.size() + 2 > most) ids.resize(most - 2);
  ids.insert(ids.begin(), begin_);
  ids.push_back(end_);
  return ids;
}

std::vector<std::string> WordPiece::pieces(std::string_view text) const {
  std::map<int, std::string> names;
  for (const auto& [piece, id] : vocabulary_) names.emplace(id, piece);
  std::vector<std::string> result;
  for (int id : ids_of(text)) result.push_back(names[id]);
  return result;
}

}  // namespace pomona::llm
