// Tables and numbers for people.
#pragma once
#include <string>
#include <vector>

#include "api/verify.h"
#include "cli/command.h"
#include "compress/policy.h"

namespace pomona::cli {

// Columns as wide as they need; numbers (and only they) to the right.
std::string table(const std::vector<std::vector<std::string>>& rows);
// A number as JSON has it; null for what JSON has no word for.
Json number(double value);
Json metrics_json(const verify::Metrics& metrics);
Json verification_json(const api::VerifyReport& report);
void say_verification(const Session& session, const api::VerifyReport& report);
// A line for every weight: what it is stored as now, or why it was left.
Json weight_lines_json(const std::vector<compress::WeightLine>& lines);
void say_weight_lines(const Session& session, const std::vector<compress::WeightLine>& lines);
// Draws on standard error while something takes long; does nothing unless that is a terminal.
std::function<void(std::string_view, double)> progress(const Session& session);

}  // namespace pomona::cli
