// fp16 with a few ops in fp32: which few. Ranges are measured on inputs, ops whose numbers fp16 does not hold are
// suspects, and of the suspects a small set is looked for with which the outputs keep their tolerance.
//
//   MixedReport report = POM_TRY(choose_mixed(request));
//   pipeline.stay_single = stay_single(report);
//
// The search is delta debugging: halves of the set and what they leave are tried before single ops, so that a handful
// of conversions does. The set is minimal in the sense that no part tried could go, not the smallest there is.
#pragma once
#include <functional>

#include "api/model.h"
#include "api/verify.h"
#include "rewrite/pipeline.h"

namespace pomona::api {

struct MixedRequest {
  std::function<Result<Model>()> import;  // the model as the pipeline takes it, each time anew
  rewrite::PipelineOptions pipeline;      // of fp16
  std::vector<std::string> inputs;        // places of inputs to measure on; none: seeded ones
  Tolerance tolerance;
  double seconds = 60;  // after which the best set so far is taken
};

struct KeptOp {
  std::size_t number = 0;  // among the function's nodes where precision is chosen
  std::string op, value, source, reason;
};
struct MixedReport {
  std::vector<KeptOp> kept;
  std::size_t ops = 0, trials = 0;
  std::string note;  // what was found, in words
};
Result<MixedReport> choose_mixed(const MixedRequest& request);

// What makes the pipeline keep those ops in fp32.
rewrite::ChooseSingle stay_single(const MixedReport& report);

}  // namespace pomona::api
