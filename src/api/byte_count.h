// Sizes as people write them: "12MB", "1.9 GB", "900000", "2GiB".
#pragma once
#include <cstdint>
#include <string>

#include "base/error.h"

namespace pomona::api {

Result<std::uint64_t> bytes_in(const std::string& text);

}  // namespace pomona::api
