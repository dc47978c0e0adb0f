#include <nlohmann/json.hpp>

#include "llm/tokenizers/parts.h"
#include "llm/tokenizers/pattern.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm {
namespace {

// What becomes of the matches that a text is split at.
enum class Behaviour : std::uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Result<Behaviour> behaviour_of(const Json& json, const std::string& otherwise) {
  std::string name = text_field(json, "behavior", otherwise);
  if (name == "Removed") return Behaviour::removed;
  if (name == "Isolated") return Behaviour::isolated;
  if (name == "MergedWithPrevious") return Behaviour::merged_with_previous;
  if (name == "MergedWithNext") return Behaviour::merged_with_next;
  if (name == "Contiguous") return Behaviour::contiguous;
  return fail("the behaviour '{}' of a pre-tokenizer is not known", name);
}

struct Stretch {
  Span span;
  bool match = false;
};
using Stretches = std::vector<Stretch>;

// The matches and what is between them.
Stretches stretches_of(const std::vector<Span>& matches, std::size_t size, bool invert) {
  Stretches all;
  std::size_t done = 0;
  for (Span span : matches) {
    if (span.begin > done) all.push_back({{done, span.begin}, invert});
    all.push_back({span, !invert});
    done = span.end;
  }
  if (done < size) all.push_back({{done, size}, invert});
  return all;
}

// Joins neighbours: `joins(left, right)` says whether; `left` is what the last of a joined run was.
template <class Joins>
Stretches joined(const Stretches& all, Joins joins) {
  Stretches result;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (i && joins(all[i - 1].match, all[i].match))
      result.back().span.end = all[i].span.end;
    else
      result.push_back(all[i]);
  return result;
}

Stretches divided(Behaviour behaviour, const Stretches& all) {
  switch (behaviour) {
    case Behaviour::removed: {
      Stretches kept;
      for (const Stretch& s : all)
        if (!s.match) kept.push_back(s);
      return kept;
    }
    case Behaviour::merged_with_previous:
      return joined(all, [](bool left, bool right) { return right && !left; });
    case Behaviour::merged_with_next:
      return joined(all, [](bool left, bool right) { return left && !right; });
    case Behaviour::contiguous:
      return joined(all, [](bool left, bool right) { return left == right; });
    case Behaviour::isolated:
      return all;
  }
  return all;
}

using Finder = std::function<Result<std::vector<Span>>(std::string_view)>;

PreTokenizer splitter(Finder find, Behaviour behaviour, bool invert = false) {
  return [find = std::move(find), behaviour, invert](std::vector<Piece>& pieces) -> Status {
    std::vector<Piece> result;
    for (Piece& piece : pieces) {
      Stretches all = divided(behaviour, stretches_of(POM_TRY(find(piece.text)), piece.text.size(), invert));
      for (const Stretch& s : all)
        result.push_back(
            {piece.text.substr(s.span.begin, s.span.end - s.span.begin), piece.first && s.span.begin == 0});
    }
    pieces = std::move(result);
    return {};
  };
}

// Every character of a kind is a match.
Finder each(bool (*is)(Character)) {
  return [is](std::string_view text) -> Result<std::vector<Span>> {
    std::vector<Span> found;
    for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
      length = std::min(character_length(text[at]), text.size() - at);
      if (is(characters(text.substr(at, length))[0])) found.push_back({at, at + length});
    }
    return found;
  };
}
Finder of(Pattern pattern) {
  return [pattern = std::move(pattern)](std::string_view text) { return pattern.find_all(text); };
}

PreTokenizer chain(std::vector<PreTokenizer> all) {
  return [all = std::move(all)](std::vector<Piece>& pieces) -> Status {
    for (const PreTokenizer& one : all) POM_TRY(one(pieces));
    return {};
  };
}

Result<PreTokenizer> byte_level(const Json& json) {
  std::vector<PreTokenizer> steps;
  if (flag_field(json, "add_prefix_space", true))
    steps.push_back([](std::vector<Piece>& pieces) -> Status {
      for (Piece& piece : pieces)
        if (!piece.text.starts_with(' ')) piece.text.insert(0, 1, ' ');
      return {};
    });
  if (flag_field(json, "use_regex", true)) {
    Pattern words =
        POM_TRY(Pattern::regular(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"));
    steps.push_back(splitter(of(words), Behaviour::isolated));
  }
  steps.push_back([](std::vector<Piece>& pieces) -> Status {
    for (Piece& piece : pieces) piece.text = byte_characters(piece.text);
    return {};
  });
  return chain(std::move(steps));
}

Result<PreTokenizer> metaspace(const Json& json) {
  std::string mark = text_field(json, "replacement", "\xE2\x96\x81");
  std::string prepend =
      text_field(json, "prepend_scheme", flag_field(json, "add_prefix_space", true) ? "always" : "never");
  POM_REQUIRE(prepend == "always" || prepend == "first" || prepend == "never",
              "the prepend_scheme '{}' of Metaspace is not known", prepend);
  bool doubled = flag_field(json, "doubled", false);  // as SentencePiece does: a text may have begun with a space
  Pattern space = Pattern::literal(" ");
  std::vector<PreTokenizer> steps{[=](std::vector<Piece>& pieces) -> Status {
    for (Piece& piece : pieces) {
      piece.text = POM_TRY(space.replace_all(piece.text, mark));
      bool wanted = prepend == "always" || (prepend == "first" && piece.first);
      if (wanted && (doubled || !piece.text.starts_with(mark))) piece.text.insert(0, mark);
    }
    return {};
  }};
  if (flag_field(json, "split", true))
    steps.push_back(splitter(of(Pattern::literal(mark)), Behaviour::merged_with_next));
  return chain(std::move(steps));
}

Result<PreTokenizer> sequence(const Json& json) {
  std::vector<PreTokenizer> all;
  for (const Json& part : json.value("pretokenizers", Json::array())) all.push_back(POM_TRY(pre_tokenizer_of(part)));
  return chain(std::move(all));
}

}  // namespace

Result<PreTokenizer> pre_tokenizer_of(const Json& json) {
  if (json.is_null()) return chain({});
  std::string kind = text_field(json, "type");
  if (kind == "Sequence") return sequence(json);
  if (kind == "ByteLevel") return byte_level(json);
  if (kind == "Metaspace") return metaspace(json);
  if (kind == "Split") {
    Pattern pattern = POM_TRY(pattern_field(json.value("pattern", Json())));
    return splitter(of(pattern), POM_TRY(behaviour_of(json, "Isolated")), flag_field(json, "invert", false));
  }
  if (kind == "CharDelimiterSplit")
    return splitter(of(Pattern::literal(text_field(json, "delimiter", " "))), Behaviour::removed);
  if (kind == "BertPreTokenizer")
    return chain(
        {splitter(each(is_white_space), Behaviour::removed), splitter(each(is_punctuation), Behaviour::isolated)});
  if (kind == "Whitespace") {
    constexpr std::string_view word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D})";
    Pattern words = POM_TRY(Pattern::regular(fmt::format(R"([{0}]+|[^{0}\s]+)", word)));
    return splitter(of(words), Behaviour::removed, true);
  }
  if (kind == "WhitespaceSplit") return splitter(each(is_white_space), Behaviour::removed);
  if (kind == "Punctuation") return splitter(each(is_punctuation), POM_TRY(behaviour_of(json, "Isolated")));
  if (kind == "Digits")
    return splitter(each(is_numeric),
                    flag_field(json, "individual_digits", false) ? Behaviour::isolated : Behaviour::contiguous);
  return fail("the pre-tokenizer '{}' is not known", kind);
}

}  // namespace pomona::llm
