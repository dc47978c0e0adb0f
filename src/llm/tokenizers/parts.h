// The parts a tokenizer.json is made of. Each is built from its JSON; a kind that is not known is refused by name.
//
//   Normalizer n = POM_TRY(normalizer_of(json["normalizer"]));
//   PreTokenizer p = POM_TRY(pre_tokenizer_of(json["pre_tokenizer"]));
//   std::vector<Piece> pieces{{POM_TRY(n(text)), true}};
//   POM_TRY(p(pieces));
//
// What they keep is text only: no offsets into the original.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pomona::llm {

using Json = nlohmann::json;

using Normalizer = std::function<Result<std::string>(std::string)>;
Result<Normalizer> normalizer_of(const Json& json);
// The table of a SentencePiece model. `longest`: as SentencePiece applies it, the longest match at each place; else as
// the package `tokenizers` does, by graphemes.
Result<Normalizer> precompiled(std::string table, bool longest);

struct Piece {
  std::string text;
  bool first = false;  // begins where the whole text does
};
using PreTokenizer = std::function<Status(std::vector<Piece>&)>;
Result<PreTokenizer> pre_tokenizer_of(const Json& json);

// Takes the tokens' texts apart and together; what is left is joined.
using Decoder = std::function<void(std::vector<std::string>&)>;
Result<Decoder> decoder_of(const Json& json);

struct Enclosure {
  std::vector<int> before, after;
};
Result<Enclosure> post_processor_of(const Json& json);

class Vocabulary {
 public:
  virtual ~Vocabulary() = default;
  virtual int find(std::string_view token) const = 0;  // -1: none
  virtual std::string_view token(int id) const = 0;    // empty: none
  virtual std::size_t size() const = 0;                // largest id + 1
  virtual void tokenize(std::string_view piece, std::vector<int>& ids) const = 0;
};
using VocabularyOf = Result<std::shared_ptr<const Vocabulary>>;
VocabularyOf bpe_of(const Json& model);
VocabularyOf unigram_of(const Json& model);
VocabularyOf word_piece_of(const Json& model);
VocabularyOf word_level_of(const Json& model);

struct AddedToken {
  std::string content;
  int id = 0;
  bool special = false, normalized = false, single_word = false, lstrip = false, rstrip = false;
};
Result<std::vector<AddedToken>> added_tokens_of(const Json& list);

// Byte-level tokenizers write each byte as a visible character.
std::string byte_characters(std::string_view bytes);
std::optional<std::string> bytes_of_characters(std::string_view text);  // none: has other characters
// The byte that the token "<0x0A>" stands for.
std::optional<char> byte_of_token(std::string_view token);

// Fields of a part.
std::string text_field(const Json& json, const char* key, const std::string& otherwise = "");
bool flag_field(const Json& json, const char* key, bool otherwise);
class Pattern;
// {"String": ...} or {"Regex": ...}
Result<Pattern> pattern_field(const Json& json);

}  // namespace pomona::llm
