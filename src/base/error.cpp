#include "base/error.h"

#include <fmt/format.h>

namespace pomona {

Error fail_text(fmt::string_view format, fmt::format_args arguments) {
  return Error{fmt::vformat(format, arguments), {}, {}, Fault::request};
}

std::string describe(const Error& error) {
  std::string text = "error: " + error.what;
  std::string before;
  for (auto place = error.places.rbegin(); place != error.places.rend(); ++place) {
    // Layers that name the same place name it once.
    if (*place != before) text += "\n  at " + *place;
    before = *place;
  }
  for (const std::string& sentence : error.advice) text += "\n  try: " + sentence;
  return text;
}

}  // namespace pomona
