#include "api/tokenize.h"

#include <charconv>

#include "base/bytes.h"

namespace pomona::api {

Result<std::vector<int>> ids_of_text(std::string_view text) {
  std::vector<int> ids;
  for (std::size_t at = 0; at < text.size();) {
    at = text.find_first_not_of(", \t\r\n[]", at);
    if (at == text.npos) break;
    int id = 0;
    auto [end, failed] = std::from_chars(text.data() + at, text.data() + text.size(), id);
    POM_REQUIRE(failed == std::errc() && id >= 0, "'{}' is no token id", text.substr(at, text.find(',', at) - at));
    ids.push_back(id);
    at = std::size_t(end - text.data());
  }
  return ids;
}

Result<TokenizeReport> tokenize(const std::string& path, const TokenizeOptions& options) {
  std::string json = POM_TRY(llm::tokenizer_json_of(path));
  auto tokenizer = POM_TRY_IN(llm::Tokenizer::from_json(json), "tokenizer '{}'", path);
  TokenizeReport report;
  if (!options.decode->empty()) {
    report.ids = POM_TRY(ids_of_text(*options.decode));
  } else {
    std::string text = options.text;
    if (!options.file->empty()) text = POM_TRY(map_file(options.file)).text();
    report.ids = POM_TRY(tokenizer->encode(text, {.special = !*options.raw, .parse_special = !*options.plain}));
  }
  for (int id : report.ids) report.tokens.push_back(tokenizer->token(id));
  report.text = tokenizer->decode(report.ids, false);
  return report;
}

}  // namespace pomona::api
