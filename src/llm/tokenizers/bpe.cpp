#include <mutex>
#include <nlohmann/json.hpp>
#include <queue>

#include "llm/tokenizers/unicode.h"
#include "llm/tokenizers/vocabulary.h"

namespace pomona::llm {
namespace {

struct Merge {
  std::uint32_t rank = 0;
  int result = 0;
};

// Symbols of a word as a list in one vector, joined in the order of their merges' ranks, leftmost first.
class Merging {
 public:
  explicit Merging(const std::unordered_map<std::uint64_t, Merge>& merges) : merges_(merges) {}

  void add(int id) {
    int place = int(symbols_.size());
    symbols_.push_back({id, place - 1, place + 1});
  }
  void run() {
    if (!symbols_.empty()) symbols_.back().next = -1;
    for (int i = 0; i + 1 < int(symbols_.size()); ++i) consider(i);
    while (!queue_.empty()) {
      Candidate best = queue_.top();
      queue_.pop();
      Symbol& left = symbols_[std::size_t(best.left)];
      // Either of the two may have been joined to another meanwhile.
      if (left.id != best.left_id || left.next < 0) continue;
      Symbol& right = symbols_[std::size_t(left.next)];
      if (right.id != best.right_id) continue;
      left.id = best.result;
      right.id = -1;
      left.next = right.next;
      if (left.next >= 0) symbols_[std::size_t(left.next)].previous = best.left;
      if (left.previous >= 0) consider(left.previous);
      consider(best.left);
    }
  }
  void collect(std::vector<int>& ids) const {
    for (const Symbol& s : symbols_)
      if (s.id >= 0) ids.push_back(s.id);
  }

 private:
  struct Symbol {
    int id, previous, next;
  };
  struct Candidate {
    std::uint32_t rank;
    int left, left_id, right_id, result;
    bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };

  void consider(int left) {
    const Symbol& a = symbols_[std::size_t(left)];
    if (a.next < 0) return;
    int right = symbols_[std::size_t(a.next)].id;
    auto at = merges_.find(std::uint64_t(std::uint32_t(a.id)) << 32 | std::uint32_t(right));
    if (at != merges_.end()) queue_.push({at->second.rank, left, a.id, right, at->second.result});
  }

  const std::unordered_map<std::uint64_t, Merge>& merges_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Candidate> queue_;
};

class Bpe : public Vocabulary {
 public:
  TokenTable table;
  std::unordered_map<std::uint64_t, Merge> merges;
  std::string prefix, suffix;  // of symbols that continue a word, that end one
  int unknown = -1;
  bool fuse_unknown = false, byte_fallback = false, ignore_merges = false;

  int find(std::string_view token) const override { return table.find(token); }
  std::string_view token(int id) const override { return table.token(id); }
  std::size_t size() const override { return table.size(); }

  void tokenize(std::string_view word, std::vector<int>& ids) const override {
    if (ignore_merges)
      if (int id = table.find(word); id >= 0) {
        ids.push_back(id);
        return;
      }
    bool remember = word.size() <= longest_remembered;
    if (remember && recall(word, ids)) return;
    std::size_t before = ids.size();
    Merging merging(merges);
    add_symbols(word, merging);
    merging.run();
    merging.collect(ids);
    if (!remember) return;
    std::lock_guard lock(mutex_);
    if (remembered_.size() >= most_remembered) remembered_.clear();
    remembered_.emplace(word, std::vector<int>(ids.begin() + std::ptrdiff_t(before), ids.end()));
  }

 private:
  // Most words of a text come again.
  static constexpr std::size_t longest_remembered = 255, most_remembered = 20'000;

  bool recall(std::string_view word, std::vector<int>& ids) const {
    std::lock_guard lock(mutex_);
    auto at = remembered_.find(std::string(word));
    if (at == remembered_.end()) return false;
    ids.insert(ids.end(), at->second.begin(), at->second.end());
    return true;
  }

  void add_symbols(std::string_view word, Merging& merging) const {
    bool pending = false;  // an unknown symbol that the next ones may join
    std::string symbol;
    std::vector<int> bytes;
    for (std::size_t at = 0, length = 0; at < word.size(); at += length) {
      length = std::min(character_length(word[at]), word.size() - at);
      symbol.assign(word, at, length);
      if (at && !prefix.empty()) symbol.insert(0, prefix);
      if (at + length == word.size()) symbol += suffix;
      int id = table.find(symbol);
      if (id >= 0) {
        if (pending) merging.add(unknown);
        pending = false;
        merging.add(id);
        continue;
      }
      bytes.clear();
      if (byte_fallback && table.bytes(symbol, bytes)) {
        for (int byte : bytes) merging.add(byte);
      } else if (unknown >= 0) {
        if (pending && !fuse_unknown) merging.add(unknown);
        pending = true;
      }
    }
    if (pending) merging.add(unknown);
  }

  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::vector<int>> remembered_;
};

// "a b", or ["a", "b"].
Result<std::pair<std::string, std::string>> sides_of(const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
    return std::pair{merge[0].get<std::string>(), merge[1].get<std::string>()};
  POM_REQUIRE(merge.is_string(), "a merge of the tokenizer is no pair");
  auto& text = merge.get_ref<const std::string&>();
  std::size_t space = text.find(' ', 1);
  POM_REQUIRE(space != text.npos, "the merge '{}' of the tokenizer is no pair", text);
  return std::pair{text.substr(0, space), text.substr(space + 1)};
}

Status read_merges(const Json& model, Bpe& bpe) {
  const Json& merges = model.at("merges");
  POM_REQUIRE(merges.is_array(), "the tokenizer's merges are no list");
  bpe.merges.reserve(merges.size());
  // As SentencePiece ranks: by what comes of it, whatever it comes from.
  bool by_result = flag_field(model, "rank_by_result", false);
  std::unordered_map<int, std::uint32_t> first_rank;
  std::uint32_t rank = 0;
  for (const Json& merge : merges) {
    auto [left, right] = POM_TRY(sides_of(merge));
    int a = bpe.table.find(left), b = bpe.table.find(right);
    std::string_view rest = right;
    if (!bpe.prefix.empty() && rest.starts_with(bpe.prefix)) rest.remove_prefix(bpe.prefix.size());
    int result = bpe.table.find(left + std::string(rest));
    POM_REQUIRE(a >= 0 && b >= 0 && result >= 0, "the merge '{} {}' of the tokenizer has a part that is no token", left,
                right);
    std::uint32_t own = by_result ? first_rank.try_emplace(result, rank).first->second : rank;
    bpe.merges.insert_or_assign(std::uint64_t(std::uint32_t(a)) << 32 | std::uint32_t(b), Merge{own, result});
    ++rank;
  }
  return {};
}

}  // namespace

VocabularyOf bpe_of(const Json& model) {
  POM_REQUIRE(!model.contains("dropout") || !model["dropout"].is_number() || model["dropout"].get<double>() == 0,
              "the tokenizer drops merges at random (dropout), which is for training");
  auto made = std::make_shared<Bpe>();
  POM_TRY(made->table.read(model.value("vocab", Json())));
  made->prefix = text_field(model, "continuing_subword_prefix");
  made->suffix = text_field(model, "end_of_word_suffix");
  made->byte_fallback = flag_field(model, "byte_fallback", false);
  made->ignore_merges = flag_field(model, "ignore_merges", false);
  made->fuse_unknown = flag_field(model, "fuse_unk", false);
  if (std::string unknown = text_field(model, "unk_token"); !unknown.empty()) {
    made->unknown = made->table.find(unknown);
    POM_REQUIRE(made->unknown >= 0, "the vocabulary of {} tokens has no '{}'", made->table.size(), unknown);
  }
  if (model.contains("merges")) POM_TRY(read_merges(model, *made));
  return std::shared_ptr<const Vocabulary>(std::move(made));
}

}  // namespace pomona::llm
