#include "llm/tokenizers/vocabulary.h"

#include <nlohmann/json.hpp>

#include "llm/tokenizers/unicode.h"

namespace pomona::llm {
namespace {

constexpr int largest_id = 1 << 24;

class WordPiece : public Vocabulary {
 public:
  TokenTable table;
  std::string prefix;
  int unknown = 0;
  std::size_t longest_word = 100;  // in characters; longer words are unknown

  int find(std::string_view token) const override { return table.find(token); }
  std::string_view token(int id) const override { return table.token(id); }
  std::size_t size() const override { return table.size(); }
  void tokenize(std::string_view word, std::vector<int>& ids) const override {
    std::size_t before = ids.size();
    if (characters(word).size() > longest_word || !cut(word, ids)) {
      ids.resize(before);
      ids.push_back(unknown);
    }
  }

 private:
  // The longest piece that the vocabulary has, again and again.
  bool cut(std::string_view word, std::vector<int>& ids) const {
    for (std::size_t first = 0, last = 0; first < word.size(); first = last) {
      int id = -1;
      for (last = word.size(); last > first; --last) {
        if (last < word.size() && (word[last] & 0xC0) == 0x80) continue;
        std::string piece = (first ? prefix : "") + std::string(word.substr(first, last - first));
        if ((id = table.find(piece)) >= 0) break;
      }
      if (id < 0) return false;
      ids.push_back(id);
    }
    return true;
  }
};

class WordLevel : public Vocabulary {
 public:
  TokenTable table;
  int unknown = -1;

  int find(std::string_view token) const override { return table.find(token); }
  std::string_view token(int id) const override { return table.token(id); }
  std::size_t size() const override { return table.size(); }
  void tokenize(std::string_view word, std::vector<int>& ids) const override {
    int id = table.find(word);
    if (id < 0) id = unknown;
    if (id >= 0) ids.push_back(id);
  }
};

}  // namespace

Status TokenTable::add(std::string token, int id) {
  POM_REQUIRE(id >= 0 && id < largest_id, "the id {} of '{}' is out of range", id, token);
  texts_.push_back(std::move(token));
  if (std::size_t(id) >= tokens_.size()) tokens_.resize(std::size_t(id) + 1);
  tokens_[std::size_t(id)] = texts_.back();
  ids_[texts_.back()] = id;
  return {};
}

Status TokenTable::read(const Json& vocabulary) {
  POM_REQUIRE(vocabulary.is_object(), "the tokenizer has no vocabulary");
  ids_.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary.items()) {
    POM_REQUIRE(id.is_number_integer(), "the id of '{}' is no integer", token);
    POM_TRY(add(token, id.get<int>()));
  }
  return {};
}

bool TokenTable::bytes(std::string_view text, std::vector<int>& ids) const {
  std::size_t before = ids.size();
  for (char c : text) {
    int id = find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(c)));
    if (id < 0) {
      ids.resize(before);
      return false;
    }
    ids.push_back(id);
  }
  return true;
}

VocabularyOf word_piece_of(const Json& model) {
  auto made = std::make_shared<WordPiece>();
  POM_TRY(made->table.read(model.value("vocab", Json())));
  made->prefix = text_field(model, "continuing_subword_prefix", "##");
  std::string unknown = text_field(model, "unk_token", "[UNK]");
  made->unknown = made->table.find(unknown);
  POM_REQUIRE(made->unknown >= 0, "the vocabulary of {} pieces has no '{}'", made->table.size(), unknown);
  if (model.contains("max_input_chars_per_word") && model["max_input_chars_per_word"].is_number_unsigned())
    made->longest_word = model["max_input_chars_per_word"].get<std::size_t>();
  return std::shared_ptr<const Vocabulary>(std::move(made));
}

VocabularyOf word_level_of(const Json& model) {
  auto made = std::make_shared<WordLevel>();
  POM_TRY(made->table.read(model.value("vocab", Json())));
  made->unknown = made->table.find(text_field(model, "unk_token", "[UNK]"));
  return std::shared_ptr<const Vocabulary>(std::move(made));
}

}  // namespace pomona::llm
