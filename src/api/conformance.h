// ONNX's own test cases, end to end: converted, written, read back, run, compared.
//
//   ConformanceReport report = POM_TRY(conformance({"onnx-cases"}, {}, {}));
//   report.counts(CaseResult::Status::passed)
//
// A case is a folder with model.onnx and test_data_set_*/{input,output}_N.pb. Each runs in a process of its own,
// several at a time: one that crashes or hangs costs itself. Answers are compared in the ONNX output's own dtype and
// shape.
//
// An input that Core ML wants to know when the model is loaded (axes, sizes, pads) becomes a constant with the case's
// own value, when the model cannot be converted otherwise.
#pragma once
#include "api/convert.h"

namespace pomona::api {

struct ConformanceOptions {
  POM_OPTION(list, std::string, "file with names or folders of cases, one a line; without it, all below DIR");
  POM_OPTION(outputs, std::string, "folder for NAME.npz or NAME.err of every case");
  POM_OPTION(precision, std::string,
             "fp32, or fp16 with differences up to 1e-2 of a value and 1e-3 of the largest") = "fp32";
  POM_OPTION(target, std::string, "oldest system") = "iOS18";
  POM_OPTION(rtol, double, "difference allowed, relative to the expected value") = 1e-3;
  POM_OPTION(atol, double,
             "difference allowed besides; at least half the last digit that fp32 has of the largest value") = 1e-7;
  POM_OPTION(seconds, int, "how long a case may take") = 120;
};
struct CaseResult {
  enum class Status : std::uint8_t { passed, wrong, failed, unsupported };
  std::string name, folder, op;  // `op`: what the case is about
  std::string group;             // core, expanded, or what keeps the case out of both
  Status status = Status::failed;
  std::string reason;  // of anything but passed
  double seconds = 0;
};
std::string_view name(CaseResult::Status status);
struct ConformanceReport {
  std::vector<CaseResult> cases;
  std::size_t count(CaseResult::Status status) const;
};
Result<ConformanceReport> conformance(const Strings& folders, const ConformanceOptions& options,
                                      const Progress& progress);

}  // namespace pomona::api
