// What the error texts of Core ML and the Neural Engine's compiler mean.
//
//   for (const Explained& hit : explain("... ANECCompile() FAILED ...")) hit.error->meaning
#pragma once
#include <span>
#include <string_view>
#include <vector>

namespace pomona::silicon {

struct ErrorText {
  std::vector<std::string_view> spellings;  // pieces of the error, any of which tells it
  std::string_view meaning, advice, source;
};
std::span<const ErrorText> error_texts();

struct Explained {
  const ErrorText* error;
  std::string_view spelling;  // that was found
};
// Those of which a spelling occurs in `text`; case, spaces, quotes, brackets and the kind of dash do not count.
std::vector<Explained> explain(std::string_view text);

}  // namespace pomona::silicon
