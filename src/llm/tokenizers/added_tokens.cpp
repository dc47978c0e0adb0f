#include "llm/tokenizers/added_tokens.h"

#include <nlohmann/json.hpp>

#include "llm/tokenizers/unicode.h"

namespace pomona::llm {
namespace {

// Bytes of white space that the text begins with, that it ends in.
std::size_t space_at_start(std::string_view text) {
  std::size_t count = 0;
  for (Character c : characters(text)) {
    if (!is_white_space(c)) break;
    count += utf8(c).size();
  }
  return count;
}
std::size_t start_of_last(std::string_view text) {
  std::size_t at = text.size();
  while (at > 0 && (text[--at] & 0xC0) == 0x80) {
  }
  return at;
}
std::size_t without_space_at_end(std::string_view text) {
  while (!text.empty()) {
    std::size_t at = start_of_last(text);
    if (!is_white_space(characters(text.substr(at))[0])) break;
    text = text.substr(0, at);
  }
  return text.size();
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  bool left = begin == 0 || !is_word(characters(text.substr(start_of_last(text.substr(0, begin)), 4))[0]);
  bool right = end == text.size() || !is_word(characters(text.substr(end, 4))[0]);
  return left && right;
}

}  // namespace

Result<std::vector<AddedToken>> added_tokens_of(const Json& list) {
  std::vector<AddedToken> tokens;
  if (!list.is_array()) return tokens;
  for (const Json& entry : list) {
    AddedToken token;
    token.content = text_field(entry, "content");
    POM_REQUIRE(!token.content.empty() && entry.contains("id") && entry["id"].is_number_integer(),
                "added token {} has no content or no id", tokens.size());
    token.id = entry["id"].get<int>();
    token.special = flag_field(entry, "special", false);
    token.normalized = flag_field(entry, "normalized", !token.special);
    token.single_word = flag_field(entry, "single_word", false);
    token.lstrip = flag_field(entry, "lstrip", false);
    token.rstrip = flag_field(entry, "rstrip", false);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

Result<AddedTokens> AddedTokens::from(std::vector<AddedToken> tokens, const Normalizer& normalizer) {
  AddedTokens made;
  made.tokens_ = std::move(tokens);
  made.contents_.reserve(made.tokens_.size());
  for (std::size_t i = 0; i < made.tokens_.size(); ++i) {
    const AddedToken& token = made.tokens_[i];
    made.by_id_[token.id] = i;
    made.contents_.push_back(token.normalized ? POM_TRY(normalizer(token.content)) : token.content);
    if (!made.contents_.back().empty())
      (token.normalized ? made.normalized_ : made.raw_).add(made.contents_.back(), int(i));
  }
  made.raw_.finish();
  made.normalized_.finish();
  return made;
}

const AddedToken* AddedTokens::find(int id) const {
  auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &tokens_[at->second];
}
const AddedToken* AddedTokens::find(std::string_view content) const {
  for (const AddedToken& token : tokens_)
    if (token.content == content) return &token;
  return nullptr;
}
int AddedTokens::largest_id() const {
  int largest = -1;
  for (const AddedToken& token : tokens_) largest = std::max(largest, token.id);
  return largest;
}

// The longest token at each place, from left to right.
std::vector<AddedTokens::Part> AddedTokens::cut(const PrefixTable& table, std::string_view text,
                                                bool parse_special) const {
  std::vector<Part> parts;
  std::size_t done = 0;
  auto plain = [&](std::size_t end) {
    if (end > done) parts.push_back({std::string(text.substr(done, end - done)), -1, done == 0});
  };
  for (std::size_t at = 0; at < text.size() && !table.empty();) {
    std::size_t length = 0, which = 0;
    table.for_each_prefix(text.substr(at), [&](std::size_t size, int index) {
      length = size;
      which = std::size_t(index);
    });
    if (!length) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + length;
    at = end;
    const AddedToken& token = tokens_[which];
    if ((token.special && !parse_special) || begin < done || (token.single_word && !stands_alone(text, begin, end)))
      continue;
    if (token.lstrip) begin = std::max(done, without_space_at_end(text.substr(0, begin)));
    if (token.rstrip) end += space_at_start(text.substr(end));
    plain(begin);
    parts.push_back({{}, token.id, begin == 0});
    done = end;
  }
  plain(text.size());
  return parts;
}

Result<std::vector<AddedTokens::Part>> AddedTokens::parts_of(std::string_view text, const Normalizer& normalizer,
                                                             bool parse_special) const {
  std::vector<Part> result;
  for (Part& outer : cut(raw_, text, parse_special)) {
    if (outer.id >= 0) {
      result.push_back(std::move(outer));
      continue;
    }
    std::string normal = POM_TRY(normalizer(std::move(outer.text)));
    for (Part& inner : cut(normalized_, normal, parse_special)) {
      inner.first = inner.first && outer.first;
      result.push_back(std::move(inner));
    }
  }
  return result;
}

}  // namespace pomona::llm
