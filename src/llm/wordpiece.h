// The tokenizer of BERT and its descendants: text to word pieces to ids.
//
//   WordPiece tokenizer = POM_TRY(WordPiece::load("encoder/"));          // tokenizer.json, else vocab.txt
//   std::vector<int> ids = tokenizer.encode("Hello, world!", 128);       // {101, 7592, 1010, 2088, 999, 102}
//
// Text is cleaned of control characters, Chinese characters stand alone, letters lose case and accents (when the
// vocabulary is an uncased one), words end at white space and punctuation; each word is then cut greedily into the
// longest pieces that the vocabulary has, those after the first written with "##". [CLS] and [SEP] enclose the result.
//
// tokenizer.json may ask for other normalisers and models: those are refused by name.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"

namespace pomona::llm {

class WordPiece {
 public:
  // A vocab.txt, a tokenizer.json, or a folder with one of them.
  static Result<WordPiece> load(const std::string& path);
  // A piece per line, its id being the line's number. Uncased, unless it has pieces with capital letters.
  static Result<WordPiece> from_vocabulary(std::string_view text);
  static Result<WordPiece> from_json(std::string_view text);

  // At most `most` ids, the enclosing two included; 0: as many as there are.
  std::vector<int> encode(std::string_view text, std::size_t most = 0) const;
  // The pieces without the enclosing two.
  std::vector<std::string> pieces(std::string_view text) const;
  int padding() const { return padding_; }

 private:
  Status find_special_tokens();
  void add_words(std::string_view text, std::vector<int>& ids) const;
  void add_pieces(std::string_view word, std::vector<int>& ids) const;
  std::string normalised(std::string_view text) const;
  std::vector<int> ids_of(std::string_view text) const;

  std::unordered_map<std::string, int> vocabulary_;
  std::map<std::string, int, std::less<>> added_;  // tokens that are taken from the text as they stand: "[MASK]"
  std::string unknown_token_ = "[UNK]", prefix_ = "##", begin_token_ = "[CLS]", end_token_ = "[SEP]";
  int unknown_ = 0, begin_ = 0, end_ = 0, padding_ = 0;
  bool clean_ = true, chinese_ = true, lower_case_ = true, strip_accents_ = true;
  std::size_t longest_word_ = 100;  // in characters; longer words are unknown
};

}  // namespace pomona::llm
