// Tokens that are taken from the text as they stand, before anything else looks at it.
//
//   AddedTokens added = POM_TRY(AddedTokens::from(tokens, normalizer));
//   for (const Part& part : POM_TRY(added.parts_of(text, normalizer, true)))
//     part.id >= 0 ? ... : ... part.text               // normalized, to be cut by the model
//
// Some are looked for in the text as it came, others in what the normalizer made of it.
#pragma once
#include <unordered_map>

#include "llm/tokenizers/vocabulary.h"

namespace pomona::llm {

class AddedTokens {
 public:
  struct Part {
    std::string text;
    int id = -1;         // >= 0: that token
    bool first = false;  // begins where the whole text does
  };
  static Result<AddedTokens> from(std::vector<AddedToken> tokens, const Normalizer& normalizer);
  // Without `parse_special`, special tokens are plain text.
  Result<std::vector<Part>> parts_of(std::string_view text, const Normalizer& normalizer, bool parse_special) const;
  const AddedToken* find(int id) const;
  const AddedToken* find(std::string_view content) const;
  int largest_id() const;

 private:
  std::vector<Part> cut(const PrefixTable& table, std::string_view text, bool parse_special) const;
  std::vector<AddedToken> tokens_;
  std::unordered_map<int, std::size_t> by_id_;
  std::vector<std::string> contents_;  // as `raw_` and `normalized_` look for them
  PrefixTable raw_, normalized_;
};

}  // namespace pomona::llm
