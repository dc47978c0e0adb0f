// Both sides of a model's border: tensors as its source had them, and tensors as the program takes them.
//
//   NamedTensors given = POM_TRY(read_inputs({"in.npz"}, ...));              // int64 ids, a bool mask, a double scale
//   NamedTensors inputs = POM_TRY(program_inputs(program, function, given)); // int32, fp32 0/1, fp32 [1]
//   NamedTensors outputs = source_outputs(program, function, results);       // int64, bool, double, rank 0 again
//
// Names of either side are accepted. What the source's names, dtypes and ranks were is in the metadata (ir/border.h).
// A program without such metadata keeps its own.
#pragma once
#include "ir/program.h"

namespace pomona::api {

// Errors: an input is missing, unknown or there twice, has a value its dtype does not hold, or a shape that the model
// does not allow; sizes that the source had under one name differ.
Result<NamedTensors> program_inputs(const Program& program, const Function& function, const NamedTensors& given);
// The same tensors as the source would take them.
NamedTensors source_inputs(const Program& program, const NamedTensors& inputs);
// `results` in the order of the function's.
NamedTensors source_outputs(const Program& program, const Function& function, Tensors results);

// The name that an input or output had in the source; its own when nothing else is known.
std::string source_name(const Program& program, bool is_input, const std::string& feature);
// The dtype spelled as some source format does; empty when nothing of ours can hold it.
std::optional<DType> source_dtype(std::string_view spelled);
// The features of that name, or null.
const Feature* find_feature(const std::vector<Feature>& features, std::string_view name);

// Notes the names of input sizes, which the file format cannot keep, and checks inputs against them.
void note_shapes(Program& program);
Status check_shapes(const Metadata& metadata, const NamedTensors& inputs);

}  // namespace pomona::api
