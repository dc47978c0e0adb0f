#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>
#include "base/bytes.h"
#include "llm/tokenizer.h"
#include "llm/tokenizers/gguf.h"
#include "llm/tokenizers/translate.h"

namespace pomona::llm {

// A piece per line, its id being the line's number. Uncased, unless it has pieces with capital letters.
Result<std::string> tokenizer_json_of_vocabulary(std::string_view text) {
  Json vocabulary = Json::object();
  bool capitals = false;
  int id = 0;
  for (std::size_t begin = 0; begin < text.size(); ++id) {
    std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string piece(text.substr(begin, end - begin));
    if (!piece.empty() && piece.back() == '\r') piece.pop_back();
    bool special = piece.starts_with('[') && piece.ends_with(']');
    capitals = capitals || (!special && piece.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != piece.npos);
    vocabulary[piece] = id;
    begin = end + 1;
  }
  Assembly parts;
  for (const char* token : {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"})
    if (vocabulary.contains(token)) parts.added.push_back({.content = token, .id = vocabulary[token], .special = true});
  for (auto [token, place] : {std::pair{"[CLS]", &parts.before}, {"[SEP]", &parts.after}}) {
    POM_REQUIRE(vocabulary.contains(token), "the vocabulary of {} pieces has no '{}'", vocabulary.size(), token);
    place->push_back(vocabulary[token]);
  }
  parts.normalizer = {{"type", "BertNormalizer"}, {"lowercase", !capitals}};
  parts.pre_tokenizer = {{"type", "BertPreTokenizer"}};
  parts.decoder = {{"type", "WordPiece"}};
  parts.model = {{"type", "WordPiece"}, {"vocab", vocabulary}};
  return assemble(std::move(parts)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

namespace {

// Is the first line of a tiktoken file "IQ== 0", or its like?
bool is_tiktoken(std::string_view text) {
  std::string_view line = text.substr(0, std::min<std::size_t>(text.find('\n'), 200));
  std::size_t space = line.find(' ');
  return space != line.npos && space % 4 == 0 && space > 0 &&
         line.find_first_not_of("0123456789\r", space + 1) == line.npos;
}

std::string file_in(const std::string& folder) {
  for (const char* name :
       {"tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "qwen.tiktoken", "vocab.txt"}) {
    std::error_code ignored;
    std::filesystem::path file = std::filesystem::path(folder) / name;
    if (std::filesystem::exists(file, ignored)) return file.string();
  }
  return {};
}

}  // namespace

bool has_tokenizer(const std::string& folder) { return !file_in(folder).empty(); }

Result<std::string> tokenizer_json_of(const std::string& path) {
  std::error_code ignored;
  std::string file = path, config;
  if (std::filesystem::is_directory(path, ignored)) {
    file = file_in(path);
    POM_REQUIRE(!file.empty(), "the folder '{}' has neither tokenizer.json, tokenizer.model nor vocab.txt", path);
    if (auto beside = map_file((std::filesystem::path(path) / "tokenizer_config.json").string()))
      config = beside->text();
  }
  Bytes bytes = POM_TRY(map_file(file));
  std::string_view text = bytes.text();
  std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != text.npos && text[first] == '{') return std::string(text);
  if (text.starts_with("GGUF")) {
    gguf::File parts = POM_TRY(gguf::read_gguf(file));
    return POM_TRY_IN(tokenizer_json_of_gguf(parts), "file '{}'", file);
  }
  if (is_tiktoken(text)) return POM_TRY_IN(tokenizer_json_of_tiktoken(text, {}, config), "tokenizer '{}'", file);
  // A message whose first field is a piece.
  if (text.starts_with('\n') && text.find('\0') != text.npos)
    return POM_TRY_IN(tokenizer_json_of_sentencepiece(text, config), "tokenizer '{}'", file);
  return POM_TRY_IN(tokenizer_json_of_vocabulary(text), "tokenizer '{}'", file);
}

}  // namespace pomona::llm
