// The order in which a graph's nodes can be computed. Files should be sorted, but some are not.
#pragma once
#include <vector>

#include "formats/onnx/proto.h"

namespace pomona::onnx {

// Indices of `nodes` such that producers come before consumers, names used inside subgraphs included; the file's order
// where that leaves a choice. Errors: a name is made twice, or nodes depend on each other in a circle.
Result<std::vector<std::size_t>> sorted_nodes(const std::vector<NodeProto>& nodes);

// "ONNX Conv '/stem/Conv'", or without a name "ONNX Conv (node 3)".
std::string source_of(const NodeProto& node, std::size_t index);

}  // namespace pomona::onnx
