#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "llm/tokenizers/unicode.h"
#include "llm/tokenizers/vocabulary.h"

namespace pomona::llm {
namespace {

constexpr double unknown_penalty = 10;

class Unigram : public Vocabulary {
 public:
  TokenTable table;
  std::vector<double> scores;
  PrefixTable pieces;
  double unknown_score = 0;
  int unknown = -1;
  bool byte_fallback = false;
  bool single = false;  // sums in single precision, as SentencePiece has them: ties are many

  int find(std::string_view token) const override { return table.find(token); }
  std::string_view token(int id) const override { return table.token(id); }
  std::size_t size() const override { return table.size(); }

  void tokenize(std::string_view text, std::vector<int>& ids) const override {
    std::vector<Span> best = best_path(text);
    for (std::size_t i = 0; i < best.size(); ++i) {
      if (best[i].id >= 0 && best[i].id != unknown) {
        ids.push_back(best[i].id);
        continue;
      }
      std::size_t begin = best[i].begin;  // unknown characters in a row are one
      while (i + 1 < best.size() && best[i + 1].id == unknown) ++i;
      std::string_view run = text.substr(begin, best[i].end - begin);
      int known = table.find(run);
      if (known >= 0)
        ids.push_back(known);
      else if (!(byte_fallback && table.bytes(run, ids)) && unknown >= 0)
        ids.push_back(unknown);
    }
  }

 private:
  struct Span {
    std::size_t begin, end;
    int id;
  };
  struct Arrival {
    double score = 0;
    std::size_t from = none;
    int id = -1;
  };
  static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

  // The way through the text with the largest sum of scores.
  std::vector<Span> best_path(std::string_view text) const {
    std::vector<Arrival> arrivals(text.size() + 1);
    auto arrive = [&](std::size_t from, std::size_t to, double score, int id) {
      double sum = arrivals[from].score + score;
      if (single) sum = float(sum);
      if (arrivals[to].from == none || sum > arrivals[to].score) arrivals[to] = {sum, from, id};
    };
    for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
      length = std::min(character_length(text[at]), text.size() - at);
      bool whole = false;  // a piece is this character
      pieces.for_each_prefix(text.substr(at), [&](std::size_t size, int id) {
        arrive(at, at + size, scores[std::size_t(id)], id);
        whole = whole || size == length;
      });
      if (!whole) arrive(at, at + length, unknown_score, unknown);
    }
    std::vector<Span> path;
    for (std::size_t end = text.size(); end > 0; end = arrivals[end].from)
      path.push_back({arrivals[end].from, end, arrivals[end].id});
    std::reverse(path.begin(), path.end());
    return path;
  }
};

}  // namespace

VocabularyOf unigram_of(const Json& model) {
  auto made = std::make_shared<Unigram>();
  const Json vocabulary = model.value("vocab", Json());
  POM_REQUIRE(vocabulary.is_array() && !vocabulary.empty(), "the tokenizer has no vocabulary");
  // Pieces that stand for no text: of SentencePiece's models.
  std::vector<bool> silent(vocabulary.size());
  for (const Json& id : model.value("silent", Json::array()))
    if (id.is_number_unsigned() && id.get<std::size_t>() < silent.size()) silent[id.get<std::size_t>()] = true;
  double smallest = std::numeric_limits<double>::infinity();
  for (const Json& entry : vocabulary) {
    POM_REQUIRE(entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number(),
                "entry {} of the tokenizer's vocabulary is no pair of piece and score", made->scores.size());
    POM_TRY(made->table.add(entry[0].get<std::string>(), int(made->scores.size())));
    made->scores.push_back(entry[1].get<double>());
    if (!silent[made->scores.size() - 1]) smallest = std::min(smallest, made->scores.back());
  }
  made->single = flag_field(model, "single", false);
  made->unknown_score = smallest - unknown_penalty;
  if (model.contains("unk_id") && model["unk_id"].is_number_integer()) made->unknown = model["unk_id"].get<int>();
  made->byte_fallback = flag_field(model, "byte_fallback", false);
  for (std::size_t id = 0; id < made->scores.size(); ++id)
    // Of pieces that are written twice the last counts.
    if (std::string_view piece = made->table.token(int(id));
        !piece.empty() && made->table.find(piece) == int(id) && !silent[id])
      made->pieces.add(piece, int(id));
  made->pieces.finish();
  return std::shared_ptr<const Vocabulary>(std::move(made));
}

}  // namespace pomona::llm
