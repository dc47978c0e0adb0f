// Is this model still what its source was? Outputs of two models, or of a model and stored ones, held against each
// other on the same inputs.
//
//   VerifyReport report = POM_TRY(verify("encoder.mlpackage", {.against = "onnxruntime"}));
//   report.passed; report.lines[0].metrics.cosine
//
// Outputs are matched by their names in the source. Floating ones are judged by their cosine, integers and truth values
// by equality. Where a model has sizes that are left open, several are tried until one runs. With `bisect`, tensors on
// the way are compared as well, matched by name, to find the first that differs. An output beyond the tolerance still
// passes, and the note says so, when the reference's own answer moves as far once its inputs change by a share of 1e-5
// (of 2^-11, when MODEL computes in fp16): models that quantise what they compute answer by leaps.
#pragma once
#include <optional>

#include "api/sample.h"
#include "base/record.h"
#include "verify/metrics.h"

namespace pomona::api {

struct VerifyOptions {
  POM_OPTION(against, std::string, "a model, an .npz of expected outputs, or 'onnxruntime'");
  POM_OPTION(source, std::string, "the file MODEL was made from, where it is not where it was");
  POM_OPTION(inputs, Strings, "in.npz, in.json, name=x.npy or name=photo.png; may be repeated");
  POM_OPTION(random, int, "how many sets of seeded random inputs, without --inputs") = 1;
  POM_OPTION(seed, std::int64_t, "of the random inputs") = 0;
  POM_OPTION(min_cosine, double, "smallest cosine that passes") = 0.999;
  POM_OPTION(max_abs, double, "largest difference that passes; 0: any") = 0;
  POM_OPTION(min_equal, double, "smallest share of equal elements that passes, of integers and truth values") = 1;
  POM_OPTION(accumulate, std::string, "fp16: MODEL sums its products in fp16 too, a pessimistic Neural Engine");
  POM_OPTION(bisect, bool, "find the first op whose result leaves the tolerance");
  POM_OPTION(function, std::string, "of MODEL; without it, the default one");
  // For callers that have them in memory: what answers in place of `against`, and inputs, by the names of the source.
  ModelFunction answer = nullptr;
  std::optional<NamedTensors> given = {};
};

// What two answers are held to. The defaults of VerifyOptions are the half_tolerance, but for integers.
struct Tolerance {
  double min_cosine = 0.999;
  double max_abs = 0;    // 0: any
  double min_equal = 1;  // share of equal elements in integer and truth-value outputs
};
// fp16 has 11 bits, so that errors of a few 1e-4 of the range are its own, and near ties are decided otherwise.
// Compressed weights lose what was asked for: with them only what is broken is caught.
inline constexpr Tolerance single_tolerance{0.99999, 0, 1}, half_tolerance{0.999, 0, 0.999},
    compressed_tolerance{0.9, 0, 0.9};

struct OutputLine {
  std::string name;
  verify::Metrics metrics;
  bool exact = false;   // integers or truth values, which are compared by equality
  std::string problem;  // why it does not pass; empty when it does
};
// A tensor on the way that has a twin.
struct LayerLine {
  std::string value, op;
  verify::Metrics metrics;
  std::string problem;
};
struct Divergence {
  bool found = false;
  std::string value, op, source;  // in MODEL; the node of the reference it came from
  verify::Metrics metrics;
  Sizes at;                             // the element that is furthest off
  double got = 0, expected = 0;         // its value here and in the reference
  std::string last_good;                // the last compared tensor before it that was within the tolerance
  std::vector<LayerLine> layers;        // all that were compared, in the program's order
  std::size_t compared = 0, total = 0;  // tensors of MODEL that have a twin of the same name and shape, of all
};
struct VerifyReport {
  bool passed = true;
  std::string reference;  // what the answers were compared with, in words
  std::string note;       // what was left out, in words; empty when nothing was
  std::vector<OutputLine> lines;
  std::optional<Divergence> divergence;
  double seconds = 0;
};

Result<VerifyReport> verify(const std::string& path, const VerifyOptions& options);

// What a conversion is checked by: the written package, read back and run, against the import it was made from,
// evaluated op by op. When that takes longer than `seconds`, the import is run by the runtime instead, and it says so.
struct ConversionCheck {
  std::string package;
  const Program* import = nullptr;  // with border options applied, not rewritten
  std::string against;              // "onnxruntime", or empty
  std::string source;
  Tolerance tolerance;
  double seconds = 60;
  bool half = false;  // computed in fp16, which cannot tell numbers apart that differ by less than 2^-14
};
Result<VerifyReport> verify_conversion(const ConversionCheck& check);

// Whether running the block draws random numbers: its answers are then one draw of many, and only their dtypes and
// shapes can be compared.
bool draws_numbers(const Block& block);
bool computes_in_half(const Block& block);
// Compares outputs by name and adds a line for each; a single output is compared with a single one of another name, and
// that is noted. Integers and truth values on either side are compared by equality.
Status add_lines(VerifyReport& report, const NamedTensors& got, const NamedTensors& expected,
                 const Tolerance& tolerance);
// Why a tensor with these metrics does not pass; empty when it does.
std::string problem_of(const verify::Metrics& metrics, bool exact, const Tolerance& tolerance);
bool is_compared_exactly(const Tensor& got, const Tensor& expected);

}  // namespace pomona::api
