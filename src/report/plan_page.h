// A plan as one page for a browser: the graph coloured by engine, the segments as a timeline, every op with its
// reasons.
//
//   std::string html = plan_page(title, placement, "M4, 16 GB");
//
// The page is self-contained and asks nothing of a network; data are JSON inside it. It draws only what is in view, so
// that ten thousand operations stay fluid; it is used by mouse, finger and keyboard, and follows the system's colours.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "silicon/placement.h"

namespace pomona::report {

nlohmann::ordered_json rule_json(const silicon::PlacementRule& rule);
std::string plan_page(const std::string& title, const silicon::Placement& placement, const std::string& chip);

}  // namespace pomona::report
