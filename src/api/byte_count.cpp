#include "api/byte_count.h"

#include <cstdlib>

namespace pomona::api {

Result<std::uint64_t> bytes_in(const std::string& text) {
  char* stop = nullptr;
  double number = std::strtod(text.c_str(), &stop);
  while (*stop == ' ') ++stop;
  std::string unit(stop);
  double factor = unit.empty() || unit == "B"   ? 1
                  : unit == "kB" || unit == "K" ? 1e3
                  : unit == "MB" || unit == "M" ? 1e6
                  : unit == "GB" || unit == "G" ? 1e9
                  : unit == "KiB"               ? 1024
                  : unit == "MiB"               ? 1024.0 * 1024
                  : unit == "GiB"               ? 1024.0 * 1024 * 1024
                                                : 0;
  POM_REQUIRE(stop != text.c_str() && factor > 0 && number > 0, "'{}' is no size such as 12MB or 900000", text);
  return std::uint64_t(number * factor);
}

}  // namespace pomona::api
