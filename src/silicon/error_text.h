// What the error texts of Core ML and the Neural Engine's compiler mean.
//
//   for (const ErrorText* hit : explain("... ANECCompile() FAILED ...")) hit->meaning
#pragma once
#include <span>
#include <string_view>
#include <vector>

namespace pomona::silicon {

struct ErrorText {
  std::string_view fragment;  // of the error, in lower case
  std::string_view meaning, advice, source;
};
std::span<const ErrorText> error_texts();
// Those whose fragment occurs in `text`, case aside.
std::vector<const ErrorText*> explain(std::string_view text);

}  // namespace pomona::silicon
