// Tokens by text and by id: what the kinds of models share.
//
//   TokenTable table;
//   POM_TRY(table.read(model["vocab"]));     // {"text": id, ...}
//   int id = table.find("hello");            // -1: none
#pragma once
#include <algorithm>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "llm/tokenizers/parts.h"

namespace pomona::llm {

class TokenTable {
 public:
  Status read(const Json& vocabulary);
  Status add(std::string token, int id);
  int find(std::string_view token) const {
    auto at = ids_.find(token);
    return at == ids_.end() ? -1 : at->second;
  }
  std::string_view token(int id) const {
    return id >= 0 && std::size_t(id) < tokens_.size() ? tokens_[std::size_t(id)] : std::string_view();
  }
  std::size_t size() const { return tokens_.size(); }
  // The ids of the tokens "<0x..>" of every byte; false when one is missing.
  bool bytes(std::string_view text, std::vector<int>& ids) const;

 private:
  std::deque<std::string> texts_;  // never move
  std::unordered_map<std::string_view, int> ids_;
  std::vector<std::string_view> tokens_;
};

// Which of many texts does a text begin with?
class PrefixTable {
 public:
  void add(std::string_view text, int id) { sorted_.emplace_back(text, id); }
  void finish() { std::sort(sorted_.begin(), sorted_.end()); }
  bool empty() const { return sorted_.empty(); }

  // Calls f(length, id) for each, the shortest first: the range of those that agree with `text` narrows with each byte.
  template <class F>
  void for_each_prefix(std::string_view text, F f) const {
    auto low = sorted_.begin(), high = sorted_.end();
    for (std::size_t i = 0; i < text.size() && low != high; ++i) {
      auto byte = static_cast<unsigned char>(text[i]);
      auto at = [i](const auto& entry) { return static_cast<unsigned char>(entry.first[i]); };
      low = std::partition_point(low, high, [&](const auto& e) { return e.first.size() <= i || at(e) < byte; });
      high = std::partition_point(low, high, [&](const auto& e) { return at(e) == byte; });
      if (low != high && low->first.size() == i + 1) f(i + 1, low->second);
    }
  }

 private:
  std::vector<std::pair<std::string_view, int>> sorted_;
};

}  // namespace pomona::llm
