#include "llm/tokenizer.h"

#include <nlohmann/json.hpp>

#include "llm/tokenizers/added_tokens.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm {
namespace {

class JsonTokenizer : public Tokenizer {
 public:
  static Result<std::shared_ptr<const Tokenizer>> from(const Json& json) {
    auto made = std::make_shared<JsonTokenizer>();
    auto part = [&](const char* key) { return json.contains(key) ? json[key] : Json(); };
    made->normalizer_ = POM_TRY(normalizer_of(part("normalizer")));
    made->pre_tokenizer_ = POM_TRY(pre_tokenizer_of(part("pre_tokenizer")));
    made->decoder_ = POM_TRY(decoder_of(part("decoder")));
    made->enclosure_ = POM_TRY(post_processor_of(part("post_processor")));
    made->vocabulary_ = POM_TRY(vocabulary_of(json));
    std::vector<AddedToken> added = POM_TRY(added_tokens_of(part("added_tokens")));
    made->added_ = POM_TRY(AddedTokens::from(std::move(added), made->normalizer_));
    return std::shared_ptr<const Tokenizer>(std::move(made));
  }

  Result<std::vector<int>> encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<int> ids;
    for (auto& part : POM_TRY(added_.parts_of(valid_utf8(text), normalizer_, options.parse_special))) {
      if (part.id >= 0) {
        ids.push_back(part.id);
        continue;
      }
      std::vector<Piece> pieces{{std::move(part.text), part.first}};
      POM_TRY(pre_tokenizer_(pieces));
      for (const Piece& piece : pieces)
        if (!piece.text.empty()) vocabulary_->tokenize(piece.text, ids);
    }
    const auto& [before, after] = enclosure_;
    std::size_t around = options.special ? before.size() + after.size() : 0;
    if (options.most >= around && options.most > 0 && ids.size() > options.most - around)
      ids.resize(options.most - around);
    if (!options.special) return ids;
    ids.insert(ids.begin(), before.begin(), before.end());
    ids.insert(ids.end(), after.begin(), after.end());
    return ids;
  }

  std::string decode(const std::vector<int>& ids, bool skip_special) const override {
    std::vector<std::string> tokens;
    for (int id : ids)
      if (!(skip_special && is_special(id)))
        if (std::string text = token(id); !text.empty()) tokens.push_back(std::move(text));
    decoder_(tokens);
    std::string text;
    for (const std::string& token : tokens) text += token;
    return text;
  }

  std::optional<int> id_of(std::string_view token) const override {
    if (const AddedToken* added = added_.find(token)) return added->id;
    int id = vocabulary_->find(token);
    return id < 0 ? std::nullopt : std::optional(id);
  }
  std::string token(int id) const override {
    if (const AddedToken* added = added_.find(id)) return added->content;
    return std::string(vocabulary_->token(id));
  }
  std::size_t size() const override { return std::max(vocabulary_->size(), std::size_t(added_.largest_id() + 1)); }
  bool is_special(int id) const override {
    const AddedToken* added = added_.find(id);
    return added && added->special;
  }

 private:
  static VocabularyOf vocabulary_of(const Json& json) {
    POM_REQUIRE(json.contains("model") && json["model"].is_object(), "the tokenizer has no model");
    const Json& model = json["model"];
    std::string kind = text_field(model, "type");
    // Old files do not say it.
    if (kind.empty() && model.contains("vocab")) {
      kind = model.contains("merges") ? "BPE" : model["vocab"].is_array() ? "Unigram" : "WordPiece";
    }
    if (kind == "BPE") return bpe_of(model);
    if (kind == "Unigram") return unigram_of(model);
    if (kind == "WordPiece") return word_piece_of(model);
    if (kind == "WordLevel") return word_level_of(model);
    return fail("the tokenizer's model '{}' is not known", kind);
  }

  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  Decoder decoder_;
  Enclosure enclosure_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  AddedTokens added_;
};

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_json(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  POM_REQUIRE(json.is_object(), "the tokenizer is no valid JSON");
  return JsonTokenizer::from(json);
}

// Tokens that came before decide little about how later ones are written, so a short context is enough: decoding all
// again with each token would take a time that grows with the square of their number.
std::string StreamDecoder::add(int id) {
  ids_.push_back(id);
  std::string text = tokenizer_->decode(ids_);
  std::size_t whole = text.size() - unfinished_bytes(text);
  if (whole <= given_) return {};
  std::string result = valid_utf8(std::string_view(text).substr(given_, whole - given_));
  given_ = whole;
  constexpr std::size_t most_kept = 16;
  if (ids_.size() > most_kept && whole == text.size()) {
    ids_.erase(ids_.begin(), ids_.end() - 4);
    given_ = tokenizer_->decode(ids_).size();
  }
  return result;
}

std::string StreamDecoder::finish() {
  std::string text = tokenizer_->decode(ids_);
  std::string result = given_ < text.size() ? valid_utf8(std::string_view(text).substr(given_)) : "";
  ids_.clear();
  given_ = 0;
  return result;
}

}  // namespace pomona::llm
