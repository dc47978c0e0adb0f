#include <cstring>

#include "llm/tokenizers/parts.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm {
namespace {

// A double-array trie (Darts) from texts to places in a block of replacements, each of which ends in a zero.
class CharacterMap {
 public:
  static Result<CharacterMap> from(std::string table) {
    CharacterMap map;
    std::uint32_t size = 0;
    POM_REQUIRE(table.size() >= 4, "the table of replaced characters is cut short");
    std::memcpy(&size, table.data(), 4);
    POM_REQUIRE(size % 4 == 0 && size >= 4 && size <= table.size() - 4,
                "the table of replaced characters says its trie has {} bytes, and has {} in all", size, table.size());
    map.units_.resize(size / 4);
    std::memcpy(map.units_.data(), table.data() + 4, size);
    map.texts_ = table.substr(4 + size) + '\0';
    return map;
  }

  struct Match {
    std::size_t length = 0;  // 0: none
    std::string_view text;
  };
  // Of the texts that `text` begins with, the shortest or the longest.
  Match match(std::string_view text, bool longest) const {
    Match found;
    std::size_t node = offset_of(units_[0]);
    for (std::size_t i = 0; i < text.size(); ++i) {
      auto byte = static_cast<std::uint8_t>(text[i]);
      node ^= byte;
      if (byte == 0 || node >= units_.size() || (units_[node] & 0x800000FFu) != byte) break;
      std::uint32_t unit = units_[node];
      node ^= offset_of(unit);
      if (!(unit >> 8 & 1) || node >= units_.size()) continue;
      std::size_t place = units_[node] & 0x7FFFFFFFu;
      if (place >= texts_.size()) continue;
      found = {i + 1, texts_.c_str() + place};
      if (!longest) break;
    }
    return found;
  }

 private:
  static std::size_t offset_of(std::uint32_t unit) { return std::size_t{unit >> 10} << ((unit & (1u << 9)) >> 6); }
  std::vector<std::uint32_t> units_;
  std::string texts_;
};

std::string by_longest_match(const CharacterMap& map, std::string_view text) {
  std::string result;
  while (!text.empty()) {
    auto found = map.match(text, true);
    std::size_t length = found.length ? found.length : std::min(text.size(), character_length(text[0]));
    result += found.length ? found.text : text.substr(0, length);
    text.remove_prefix(length);
  }
  return result;
}

std::string by_grapheme(const CharacterMap& map, std::string_view text) {
  // Longer graphemes are not looked up whole.
  constexpr std::size_t longest_grapheme = 5;
  std::string result;
  for (const std::string& grapheme : graphemes(text)) {
    if (grapheme.size() <= longest_grapheme)
      if (auto found = map.match(grapheme, false); found.length) {
        result += found.text;
        continue;
      }
    for (Character c : characters(grapheme)) {
      std::string one = utf8(c);
      auto found = map.match(one, false);
      result += found.length ? found.text : one;
    }
  }
  return result;
}

}  // namespace

Result<Normalizer> precompiled(std::string table, bool longest) {
  if (table.empty()) return Normalizer([](std::string text) -> Result<std::string> { return text; });
  auto map = std::make_shared<const CharacterMap>(POM_TRY(CharacterMap::from(std::move(table))));
  return Normalizer([map, longest](std::string text) -> Result<std::string> {
    return longest ? by_longest_match(*map, text) : by_grapheme(*map, text);
  });
}

}  // namespace pomona::llm
