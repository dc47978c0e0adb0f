// The border: what a model's inputs and outputs were called and typed in the file they came from.
//
// A reader gives features the dtype a program computes with; a rewriting may then change names and dtypes again to what
// Core ML takes. So that running and verifying can undo both, the source's view is kept in Program::metadata.user:
//
//   "com.pomona.source.format"          "onnx"
//   "com.pomona.source.input.ids"       "int64 [batch, 128] input_ids"     key: the feature's name now
//   "com.pomona.source.output.scores"   "double [batch] scores"            value: dtype, shape, the source's name
//
//   "com.pomona.source.assumption.0"    "ONNX Squeeze 'pool': size 'batch' is taken for other than 1"
//   "com.pomona.source.equal.0"         "batch\tbatch_2"
//
//   for (const SourceFeature& f : source_features(program.metadata)) ...
//
// Whoever renames a feature calls rename_source_feature. Dtypes are spelled as the source format spells them.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ir/program.h"

namespace pomona {

struct SourceFeature {
  bool is_input = true;
  std::string feature;  // its name in this program
  std::string dtype;
  std::string shape;  // "[batch, 128]"; "?" when the source did not say
  std::string name;   // in the source
};

inline constexpr std::string_view source_format_key = "com.pomona.source.format";

// What a value alone tells of an input or output: its name, dtype and, where all of it is known, its shape.
Feature feature_of(Value value);

// What a reader had to take for granted because the file leaves it open, in the user's words.
void note_assumptions(Metadata& metadata, const std::vector<std::string>& sentences);
std::vector<std::string> assumptions(const Metadata& metadata);
// Names of sizes that the source calls differently and that were taken for the same, since tensors of them are combined
// element by element. Were one of them 1, the other would be right.
using EqualSizes = std::vector<std::pair<std::string, std::string>>;
void note_equal_sizes(Metadata& metadata, const EqualSizes& pairs);
EqualSizes equal_sizes(const Metadata& metadata);

void note_source_feature(Metadata& metadata, const SourceFeature& feature);
std::vector<SourceFeature> source_features(const Metadata& metadata);
std::optional<SourceFeature> source_feature(const Metadata& metadata, bool is_input, const std::string& feature);
void rename_source_feature(Metadata& metadata, bool is_input, const std::string& before, const std::string& after);

}  // namespace pomona
