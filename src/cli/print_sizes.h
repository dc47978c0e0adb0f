// Which dimension of which input makes which ops dynamic, for people and programs.
#pragma once
#include "api/open_sizes.h"
#include "cli/command.h"

namespace pomona::cli {

Json open_sizes_json(const std::vector<api::OpenSize>& sizes);
// In words the first few, or all of them.
Strings open_sizes_text(const std::vector<api::OpenSize>& sizes, std::size_t of_ops, bool all);

}  // namespace pomona::cli
