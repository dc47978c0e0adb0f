// Text to token ids and back, as a model's tokenizer.json says.
//
//   auto t = POM_TRY(Tokenizer::from_json(tokenizer_json));
//   std::vector<int> ids = POM_TRY(t->encode("Hello"));               // with what the post-processor adds
//   std::string text = t->decode(ids);                                // bytes as the model means them
//
// BPE (byte-level and metaspace), unigram and WordPiece models, with their normalizers, pre-tokenizers,
// post-processors, decoders and added tokens. A part that is not known is refused by name. Other forms of tokenizers
// (SentencePiece .model, GGUF's arrays, tiktoken files) are translated into a tokenizer.json first:
// tokenizer_json_of_*.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pomona::llm {

struct EncodeOptions {
  bool special = true;        // add what the post-processor adds (beginning of text, [CLS], ...)
  bool parse_special = true;  // special tokens written in the text become their ids; else they are plain text
  std::size_t most = 0;       // ids at most, those of the post-processor included; 0: as many as there are
};

class Tokenizer {
 public:
  static Result<std::shared_ptr<const Tokenizer>> from_json(std::string_view text);
  virtual ~Tokenizer() = default;

  // Errors: a regular expression of the tokenizer gives up on the text.
  virtual Result<std::vector<int>> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  // `skip_special`: special tokens leave no text. The bytes may end within a character when the ids do.
  virtual std::string decode(const std::vector<int>& ids, bool skip_special = true) const = 0;
  virtual std::optional<int> id_of(std::string_view token) const = 0;
  virtual std::string token(int id) const = 0;
  virtual std::size_t size() const = 0;
  virtual bool is_special(int id) const = 0;
};

// Decodes token by token, for streaming: gives the text that has become certain (whole characters) with each id; bytes
// that are none become U+FFFD.
class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}
  std::string add(int id);
  std::string finish();  // what is left, even if it is no whole character

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<int> ids_;
  std::size_t given_ = 0;  // bytes of the decoded text given out
};

// Other forms as tokenizer.json text: a SentencePiece .model's bytes; a tiktoken file's, with the regular expression
// that goes with it (empty: the one usual for its number of tokens); BERT's vocab.txt. `tokenizer_config` (may be
// empty) says which tokens are added and which enclose a text.
Result<std::string> tokenizer_json_of_sentencepiece(std::string_view model_bytes,
                                                    std::string_view tokenizer_config = {});
Result<std::string> tokenizer_json_of_tiktoken(std::string_view text, std::string_view pattern = {},
                                               std::string_view tokenizer_config = {});
Result<std::string> tokenizer_json_of_vocabulary(std::string_view text);

// From tokenizer.json, a .model, a tiktoken file, vocab.txt or GGUF, told apart by their bytes; or from a folder with
// one.
Result<std::string> tokenizer_json_of(const std::string& path);
bool has_tokenizer(const std::string& folder);

}  // namespace pomona::llm
