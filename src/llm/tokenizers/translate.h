// What the translations into tokenizer.json share.
//
//   Json tokenizer = assemble({.model = model, .normalizer = ..., .added = added, .before = {1}});
//   std::vector<Json> merges = merges_of(pieces);          // of pieces in the order of their ranks
#pragma once
#include "llm/tokenizers/parts.h"

namespace pomona::llm {

// A template, so that this header does without JSON's definition.
template <class J>
struct AssemblyOf {
  J model, normalizer, pre_tokenizer, decoder;
  std::vector<AddedToken> added;
  std::vector<int> before, after;  // ids that enclose a text; each must be in the vocabulary or added
};
using Assembly = AssemblyOf<Json>;
Json assemble(Assembly parts);

// Every way to put a piece together from two others, for pieces in the order in which merging makes them: with
// "rank_by_result" these are SentencePiece's and tiktoken's rules, which join whatever two neighbours make a piece.
Json merges_of(const std::vector<std::string>& pieces, bool whole_characters);

// Added tokens of a tokenizer_config.json; those of `known` with the same id are replaced.
void add_tokens_of_config(std::vector<AddedToken>& known, const Json& config);
// The id of the token that the configuration names: "bos_token": "<s>" or {"content": "<s>"}.
std::optional<int> token_of_config(const Json& config, const char* key, const std::vector<AddedToken>& added);

Json byte_level_decoder();
// Replaces marks by spaces, bytes by themselves, joins; with `prefixed` the space at the start goes.
Json metaspace_decoder(bool prefixed);
Json split_by(const std::string& expression);
Json sequence_of(const char* kind, const char* list, std::vector<Json> parts);

// Pieces as SentencePiece knows them, in a .model or in a GGUF file.
enum class PieceKind : std::uint8_t { normal = 1, unknown, control, user_defined, unused, byte };
struct SentencePiece {
  std::string text;
  double score = 0;
  PieceKind kind = PieceKind::normal;
};
struct SentencePieces {
  std::vector<SentencePiece> pieces;
  bool unigram = true, byte_fallback = false;
  bool add_prefix = true;                // a space before the text
  bool prefix_after_added = false;       // and after each added token
  bool remove_extra_whitespace = false;  // at the ends, and of several in a row all but one
  std::string character_map;
  std::vector<AddedToken> added;  // beyond the pieces
  std::vector<int> before, after;
};
Result<Json> tokenizer_of(const SentencePieces& model);

}  // namespace pomona::llm
