// Text as Unicode characters, and what tokenizers ask about them.
//
//   std::string text = valid_utf8(bytes);                  // what is no UTF-8 becomes U+FFFD
//   for (Character c : characters(text)) if (is_white_space(c)) ...
//   std::string composed = normalised(text, Form::NFC);
//
// The normal forms and categories are utf8proc's.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pomona::llm {

using Character = std::int32_t;

std::string valid_utf8(std::string_view bytes);
std::vector<Character> characters(std::string_view text);
void append(std::string& text, Character c);
std::string utf8(Character c);
std::string utf8(const std::vector<Character>& text);
// Bytes of the character that begins with `first`, 1 where none does.
std::size_t character_length(char first);
// How many bytes at the end of `text` begin a character and do not end it.
std::size_t unfinished_bytes(std::string_view text);

enum class Form : std::uint8_t { NFC, NFD, NFKC, NFKD };
std::string normalised(const std::string& text, Form form);
std::string lower_case(std::string_view text);
std::string upper_case(std::string_view text);  // a character for a character
std::string without_marks(std::string_view text, bool nonspacing_only);
std::vector<std::string> graphemes(std::string_view text);  // what readers take for one character

bool is_white_space(Character c);  // the property White_Space
bool is_mark(Character c);         // Mn, Mc, Me
bool is_numeric(Character c);      // Nd, Nl, No
bool is_punctuation(Character c);  // P*, and all of ASCII that is neither letter, digit, space nor control
bool is_other(Character c);        // Cc, Cf, Cs, Co: not what is unassigned
bool is_word(Character c);         // letters, marks, numbers, joining punctuation
bool is_chinese(Character c);      // BERT's blocks of CJK ideographs

}  // namespace pomona::llm
