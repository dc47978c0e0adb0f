// A node as files and text state it: an op's name, arguments by field, results with names and types.
//
// Files do not tell inputs from attributes: each argument is bound to values of the program or to literals, and a value
// may be a constant. add_call() sorts that out: constants bound to attribute fields become Node::attributes, literals
// bound to input fields become const nodes. arguments_of() is the way back: every attribute as a literal of the dtype
// it is written in.
//
//   Call call{.op = mil::find_op("concat", iOS17), .name = "both"};
//   call.arguments.push_back({"values", {{.value = a}, {.value = b}}});
//   call.arguments.push_back({"axis", {{.literal = Tensor::scalar(DType::int32, 1)}}});
//   Node* node = POM_TRY(add_call(block, std::move(call)));
//
// Types are inferred; types that the file declares are compared with them, and add what was not known.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ir/op.h"

namespace pomona {

// One of the two is set.
struct CallOperand {
  Value value = {};
  Weight literal = {};
};
struct CallArgument {
  std::string field;
  std::vector<CallOperand> operands;  // more than one: a tuple
  bool inlined = false;               // written in place, not through a const op
};
struct CallResult {
  std::string name;
  std::optional<Type> declared;
  bool any_rank = false;  // the declared type leaves the rank open
};
struct Call {
  const OpDef* op = nullptr;
  std::string name;
  std::vector<CallArgument> arguments;
  std::vector<CallResult> results;
  bool results_as_inferred = false;  // `results` is empty; they are named after the call
  // Fills the node's blocks, when its inputs are set and before its types are inferred.
  std::function<Status(Node&)> fill_blocks;
};

// Adds the node at the end of the block. Errors name the op and the field.
Result<Node*> add_call(Block& block, Call call);
// A const node at the end of the block.
Value add_constant(Block& block, Weight literal, std::string value_name, std::string node_name = {});
// The arguments of a node that are present, in the order of the op's fields. An attribute is left out when it is
// absent, or empty where it need not be given; other defaults are stated.
std::vector<CallArgument> arguments_of(const Node& node);
// The attribute that a field of an op takes from literals, and the literals that state it.
Result<Attribute> attribute_from(const FieldInfo& field, std::span<const Weight> literals);
std::vector<Weight> literals_of(const Node& node, std::size_t attribute);
// Erases const nodes that nothing uses, inside blocks too; readers make them before it is known what they feed.
void erase_unused_constants(Block& block);

// The inferred type with what the declared one knows better; an error when they contradict each other.
Result<Type> agreed_type(const Type& inferred, const Type& declared, bool any_rank = false);

}  // namespace pomona
