// The catalogue of MIL ops: every op struct of this folder, found by name and operator set.
//
//   const OpDef* conv = find_op("conv", Target::iOS17);
//
// A chapter's .cpp lists its ops; catalogue.cpp lists the chapters.
#pragma once
#include <span>
#include <vector>

#include "ir/op.h"

namespace pomona::mil {

// Every op, in the order of the chapters; `const` first.
const std::vector<const OpDef*>& catalogue();
// The op of that name in an operator set; null when there is none.
const OpDef* find_op(std::string_view name, Target opset);
// Op names near the given one, for error messages.
std::string nearest_op(std::string_view name);

std::vector<const OpDef*> activation_chapter();
std::vector<const OpDef*> elementwise_unary_chapter();
std::vector<const OpDef*> elementwise_binary_chapter();
std::vector<const OpDef*> reduction_chapter();
std::vector<const OpDef*> linear_chapter();
std::vector<const OpDef*> conv_chapter();
std::vector<const OpDef*> pool_chapter();
std::vector<const OpDef*> norm_chapter();
std::vector<const OpDef*> gather_scatter_chapter();
std::vector<const OpDef*> shape_chapter();
std::vector<const OpDef*> tensor_operation_chapter();
std::vector<const OpDef*> recurrent_chapter();
std::vector<const OpDef*> image_chapter();
std::vector<const OpDef*> nms_chapter();
std::vector<const OpDef*> control_flow_chapter();
std::vector<const OpDef*> list_chapter();
std::vector<const OpDef*> classify_chapter();
std::vector<const OpDef*> state_chapter();
std::vector<const OpDef*> attention_chapter();
std::vector<const OpDef*> constexpr_chapter();
std::vector<const OpDef*> quantization_chapter();
std::vector<const OpDef*> random_chapter();

}  // namespace pomona::mil
