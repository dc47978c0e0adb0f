// A plan as JSON: what the command line prints and the Python module gives.
//
//   nlohmann::ordered_json json = plan_json(report, false);
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "api/plan.h"

namespace pomona::api {

// `ops`: every op with its verdicts, rules and time.
nlohmann::ordered_json plan_json(const PlanReport& report, bool ops);
nlohmann::ordered_json speed_json(const silicon::Speed& speed);

}  // namespace pomona::api
