// The order in which passes and rules make an imported program fit for Core ML: pipeline.cpp is that order.
//
//   Report report;
//   POM_TRY(optimise(program, {.target = Target::iOS18, .precision = Precision::half}, report));
#pragma once
#include <string>
#include <vector>

#include "ir/program.h"

namespace pomona::rewrite {

enum class Precision : std::uint8_t { half, single };

struct PipelineOptions {
  Precision precision = Precision::half;
  bool half_border = false;  // fp16 inputs and outputs
};

struct Report {
  std::vector<std::string> sentences;  // what changed at the border, for the user
  struct PassTime {
    std::string_view pass;
    double seconds;
  };
  std::vector<PassTime> times;
};

Status optimise(Program& program, const PipelineOptions& options, Report& report);

}  // namespace pomona::rewrite
