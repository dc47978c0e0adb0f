// From any readable model to a Core ML package: read, rewrite, compress, write, verify.
//
//   ConvertReport report = POM_TRY(convert("encoder.onnx", "encoder.mlpackage", {}, {}));
//   report.verification->passed
//
// What is written is verified as a draft, and takes its place after that: whoever finds the output finds a verified
// one.
#pragma once
#include <functional>
#include <optional>

#include "api/mixed.h"
#include "api/open_sizes.h"
#include "api/verify.h"
#include "base/record.h"
#include "compress/policy.h"
#include "formats/onnx/import.h"
#include "rewrite/rule.h"

namespace pomona::api {

struct ConvertOptions {
  POM_OPTION(target, std::string,
             "oldest system: iOS15 to iOS26, macOS12 to macOS26; without it iOS18, or a package's own");
  POM_OPTION(
      precision, std::string,
      "fp16, fp32, or mixed (fp16 but for ops that are measured to need fp32); without it fp16, or a package's own");
  POM_OPTION(input, Strings, "name=1x3x224x224[:dtype]: the shape of an input; ? leaves a size as it is");
  POM_OPTION(dynamic, Strings, "name=1..8x3x32..512x32..512: bounds of sizes that are left open");
  POM_OPTION(enumerate, Strings, "name=1x3x224x224,1x3x448x448: the only shapes allowed");
  POM_OPTION(
      image, Strings,
      "name=rgb|bgr|gray|gray-fp16[:scale=S[,S,S],bias=B[,B,B]]: an input that takes pictures, or an output that "
      "gives them");
  POM_OPTION(classes, std::string, "file of labels, one a line: the model becomes a classifier");
  POM_OPTION(constant, Strings, "name=1,-1 or name=file.npy: an input that becomes a constant");
  POM_OPTION(custom_op, Strings, "DOMAIN::NAME=FILE.mil: the lowering of an operator, as MIL text");
  POM_OPTION(detector, std::string,
             "boxes=NAME,scores=NAME[,max=100][,iou=0.45][,confidence=0.25][,corners][,pixels=W:H]: non-maximum "
             "suppression behind the model, with its thresholds as inputs");
  POM_OPTION(io_dtype, std::string, "fp32 or fp16: of floating inputs and outputs") = "fp32";
  POM_OPTION(compress, std::string, "scheme for the weights: int8, int4, lut4, ...");
  Option<
      "for", std::string,
      "ane or gpu: the engine that the program is written for; ane fixes open sizes and says in other forms what the "
      "Neural Engine would not take; without it gpu">
      engine;
  POM_OPTION(cache, std::string,
             "state, io or none: where a language model's keys and values live; without it as the engine likes");
  POM_OPTION(context, std::int64_t, "the most tokens a language model's text may have; 0: its own, at most 4096");
  POM_OPTION(prefill, std::int64_t, "tokens of a prompt that go through a language model at once") = std::int64_t(64);
  POM_OPTION(requantize, std::string,
             "scheme for a checkpoint's weights in place of the one they have: lut4, int8, ...");
  POM_OPTION(calibrate, std::string,
             "with --requantize: a text that the weights' new codes are fitted to, as the model reads it; with "
             "--precision mixed: inputs to measure on (in.npz, in.json or name=x.npy), without it seeded ones");
  POM_OPTION(samples, int, "pieces of 512 tokens of that text that are read") = 12;
  POM_OPTION(scaling, std::string,
             "with --requantize and --calibrate: awq or smooth_quant, size of inputs moved into weights");
  POM_OPTION(stack_states, bool,
             "one state holds the keys of all layers, another the values, instead of two per layer");
  POM_OPTION(split_head, int, "parts of a language model's output projection; 0: as the engine needs");
  POM_OPTION(no_verify, bool, "do not check what was written");
  POM_OPTION(against, std::string, "verify against 'onnxruntime' instead of the import");
  POM_OPTION(verify_seconds, double, "how long evaluating the import op by op may take") = 60;
  POM_OPTION(dry_run, bool, "say what would happen, write nothing");
  POM_OPTION(force, bool, "replace an existing output");
  POM_OPTION(keep, bool, "write the output even if it fails the verification");
  POM_OPTION(dump_after, Strings, "PASS[=FOLDER]: the program as MIL text after this rewriting pass, or after 'all'");
  POM_OPTION(why, std::string, "RULE: where this rewrite rule did not apply, and why");
  POM_OPTION(author, std::string, "metadata: who made the model");
  POM_OPTION(license, std::string, "metadata: under which licence it may be used");
  POM_OPTION(model_version, std::string, "metadata: version of the model");
  POM_OPTION(description, std::string, "metadata: what the model does");
  POM_OPTION(input_description, Strings, "name=text: what an input is");
  POM_OPTION(output_description, Strings, "name=text: what an output is");
  POM_OPTION(rename, Strings, "old=new: another name for an input or output");
  POM_OPTION(meta, Strings, "key=value: further metadata, such as com.apple.coreml.model.preview.type=...");
  // What has no text form: lowerings of operators by "DOMAIN::NAME", and rewrite rules that come before ours.
  std::map<std::string, onnx::CustomOp> custom_bodies;
  std::vector<const rewrite::Rule*> rules;
};

// Called now and then; `share` is 0 to 1, or negative when nobody knows.
using Progress = std::function<void(std::string_view stage, double share)>;

struct Stage {
  std::string name;
  double seconds = 0;
};
struct RuleReport {
  std::size_t applied = 0;
  std::vector<rewrite::Refusal> refusals;  // those that came nearest to a match first
};
struct ConvertReport {
  bool written = false;  // not after a dry run, nor after a failed verification unless it is to be kept
  std::string source_format, output;
  std::uint64_t source_bytes = 0, output_bytes = 0, peak_memory = 0;
  std::vector<std::string> border;  // what changed at the border, and what was decided there
  std::map<std::string, std::size_t> ops;
  std::vector<OpenSize> open_sizes;           // of the package's program
  std::vector<compress::WeightLine> weights;  // with --compress: a line for each
  std::vector<Stage> stages;
  std::vector<std::string> dumps;            // files, with --dump-after
  std::map<std::string, std::size_t> rules;  // how often each of the user's rules applied
  std::optional<RuleReport> why;
  std::optional<MixedReport> mixed;
  std::optional<VerifyReport> verification;
};

Result<ConvertReport> convert(const std::string& source, const std::string& output, const ConvertOptions& options,
                              const Progress& progress);

// "name=value", as several options have it.
Result<std::pair<std::string, std::string>> split_assignment(const std::string& text, std::string_view option);
// Values of --size: "name=128" each, for sizes that the inputs leave open. Errors: no input has a size of that name.
Result<Dim::Bindings> sizes_from(const Function& function, const Strings& options);

}  // namespace pomona::api
