// Words in ASCII, as formats, headers and product names write them: what differs in case is the same word.
//
//   ascii_lower("Transfer-Encoding")        // "transfer-encoding"
//   letters_and_digits("Llama-3.1 8B")      // "llama318b"
//
// Other scripts are left alone; tokenizers have Unicode's own rules.
#pragma once
#include <string>
#include <string_view>

namespace pomona {

std::string ascii_lower(std::string_view text);
// Without anything else, in lower case: for names that people space and hyphenate as they like.
std::string letters_and_digits(std::string_view text);

}  // namespace pomona
