#include "base/error.h"

#include <fmt/format.h>

namespace pomona {

Error fail_text(fmt::string_view format, fmt::format_args arguments) {
  return Error{fmt::vformat(format, arguments), {}, {}, Fault::request};
}

std::string describe(const Error& error) {
  std::string text = "error: " + error.what;
  for (auto place = error.places.rbegin(); place != error.places.rend(); ++place) text += "\n  at " + *place;
  for (const std::string& sentence : error.advice) text += "\n  try: " + sentence;
  return text;
}

}  // namespace pomona
