#include <algorithm>

#include <nlohmann/json.hpp>
#include "llm/tokenizer.h"
#include "llm/tokenizers/translate.h"

namespace pomona::llm {
namespace {

// The expression that goes with a number of tokens: gpt-2, cl100k, Llama 3, Qwen, o200k.
std::string usual_pattern(std::size_t tokens) {
  constexpr const char* contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
  constexpr const char* rest = R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  if (tokens <= 60'000) return R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  if (tokens >= 190'000)
    return fmt::format(
        R"([^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+{0}?|)"
        R"([^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*{0}?|)"
        R"(\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        contractions);
  const char* digits = tokens >= 140'000 ? R"(\p{N})" : R"(\p{N}{1,3})";
  return fmt::format(R"({}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{}|{})", contractions, digits, rest);
}

Result<std::string> base64_bytes(std::string_view text, std::size_t line) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t held = 0;
  int bits = 0;
  for (char c : text) {
    if (c == '=') break;
    std::size_t digit = digits.find(c);
    POM_REQUIRE(digit != digits.npos, "line {} of the tiktoken file is no token in base64 and rank", line);
    held = held << 6 | std::uint32_t(digit);
    bits += 6;
    if (bits >= 8) bytes += char(held >> (bits -= 8) & 0xFF);
  }
  return bytes;
}

Result<std::vector<std::pair<int, std::string>>> read_ranks(std::string_view text) {
  std::vector<std::pair<int, std::string>> ranks;
  std::size_t line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view row = text.substr(begin, end - begin);
    begin = end + 1;
    ++line;
    if (row.empty() || row == "\r") continue;
    std::size_t space = row.find(' ');
    POM_REQUIRE(space != row.npos && space > 0 &&
                    std::isdigit(static_cast<unsigned char>(row.back() == '\r' ? row[row.size() - 2] : row.back())),
                "line {} of the tiktoken file is no token in base64 and rank", line);
    ranks.emplace_back(std::atoi(std::string(row.substr(space + 1)).c_str()),
                       POM_TRY(base64_bytes(row.substr(0, space), line)));
  }
  POM_REQUIRE(!ranks.empty(), "the tiktoken file has no tokens");
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

}  // namespace

Result<std::string> tokenizer_json_of_tiktoken(std::string_view text, std::string_view pattern,
                                               std::string_view tokenizer_config) {
  auto ranks = POM_TRY(read_ranks(text));
  Json vocabulary = Json::object();
  std::vector<std::string> pieces;
  for (const auto& [rank, bytes] : ranks) {
    pieces.push_back(byte_characters(bytes));
    vocabulary[pieces.back()] = rank;
  }
  Assembly parts;
  parts.model = {{"type", "BPE"},
                 {"vocab", vocabulary},
                 {"merges", merges_of(pieces, true)},
                 {"ignore_merges", true},
                 {"rank_by_result", true}};
  Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  std::string expression = pattern.empty() ? usual_pattern(ranks.size()) : std::string(pattern);
  parts.pre_tokenizer = sequence_of("Sequence", "pretokenizers", {split_by(expression), bytes});
  parts.decoder = byte_level_decoder();
  Json config = Json::parse(tokenizer_config, nullptr, false);
  add_tokens_of_config(parts.added, config);
  if (flag_field(config, "add_bos_token", false))
    if (auto id = token_of_config(config, "bos_token", parts.added)) parts.before.push_back(*id);
  return assemble(std::move(parts)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace pomona::llm
