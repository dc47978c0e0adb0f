// Tables of language models' speeds as CSV: read, predicted, written with the predictions added.
//
//   SpeedTable t = POM_TRY(read_speed_table(text));
//   t.cases[0].chip                        // columns by name; all columns are kept as they are
//
// Columns: chip, gpu_cores, bandwidth_gbs, runtime, model, params_b, quant, bits_per_weight, phase, tokens_per_s,
// weight_gib, test, build; others are carried along. chip, runtime, params_b and phase must be there, and one of
// bits_per_weight and weight_gib. Fields may be empty, and quoted as RFC 4180 has it.
#pragma once
#include "silicon/speed.h"

namespace pomona::silicon {

struct SpeedTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
  std::vector<SpeedCase> cases;  // one per row
};

// Errors name the line.
Result<SpeedTable> read_speed_table(std::string_view text);

struct SpeedLine {
  std::optional<Speed> speed;
  std::string obstacle;  // why there is none
};
struct SpeedErrors {
  std::string group;  // runtime and phase
  std::size_t rows = 0;
  double median = 0, p90 = 0, inside = 0;  // of the rows that give a speed
};
struct SpeedPredictions {
  std::vector<SpeedLine> lines;  // one per row
  std::vector<SpeedErrors> errors;
};
SpeedPredictions predict_table(const SpeedTable& table, const SpeedConstants& constants);
// The table with predicted_tokens_per_s, low and high behind its own columns; empty where there is no prediction.
std::string write_speed_table(const SpeedTable& table, const std::vector<SpeedLine>& lines);

}  // namespace pomona::silicon
