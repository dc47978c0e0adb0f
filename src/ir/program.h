// The program: functions of blocks of nodes in SSA form. A Node applies one op (an OpDef, see op.h) to Values and
// makes new ones; a Value knows its producer and its users, so that rewriting costs what it changes.
//
//   Program program;
//   Function& main = program.add_function("main", Target::iOS17);
//   Value x = main.body.add_input("x", tensor_type(DType::fp32, {1, Dim::named("n")}));
//   Builder g(main);
//   Value y = g.add(mil::relu{.x = x}, "y");
//   main.body.set_results({y});
//
// Values are handles; they stay valid while their node or block does. Nothing here knows an op by name.
#pragma once
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/pool.h"
#include "base/record.h"
#include "ir/type.h"
#include "ir/weight.h"

namespace pomona {

struct OpDef;
class Node;
class Block;
struct Function;
struct Program;

struct ValueInfo {
  Type type;
  std::string name;
  Node* producer = nullptr;  // null: an input of `block`
  std::size_t index = 0;     // among the outputs of the producer or the inputs of the block
  Block* block = nullptr;
  std::vector<Node*> users;  // one entry per use
  // What is known of the elements of a shape-like (integer, rank 0 or 1) value that is not constant.
  std::optional<std::vector<Dim>> contents;

  static void* operator new(std::size_t) { return pool_of<ValueInfo>().take(); }
  static void operator delete(void* place) { pool_of<ValueInfo>().give(place); }
};

class Value {
 public:
  Value() = default;
  explicit Value(ValueInfo* info) : info_(info) {}
  explicit operator bool() const { return info_ != nullptr; }
  friend bool operator==(const Value&, const Value&) = default;
  friend bool operator<(const Value& a, const Value& b) { return a.info_ < b.info_; }

  const Type& type() const { return info_->type; }
  const Shape& shape() const { return info_->type.shape; }
  DType dtype() const { return info_->type.dtype; }
  std::size_t rank() const { return info_->type.shape.size(); }
  const std::string& name() const { return info_->name; }
  void set_name(std::string name) const { info_->name = std::move(name); }
  Node* producer() const { return info_->producer; }
  std::size_t index() const { return info_->index; }
  Block* block() const { return info_->block; }
  const std::vector<Node*>& users() const { return info_->users; }
  bool used_once() const { return info_->users.size() == 1; }
  ValueInfo& info() const { return *info_; }

  // The literal when a const node produces this value, else null.
  const Weight* literal() const;
  // The elements of a constant integer (or bool) tensor; empty when it is not constant.
  std::optional<Ints> integers() const;
  // The number in a constant with one element, or whose elements are all equal (looked at when there are at most 4096).
  std::optional<double> number() const;
  // Elements of a shape-like value as far as they are known, constants included.
  std::optional<std::vector<Dim>> contents() const;
  // Has a literal or is decoded from literals by constexpr ops.
  bool is_weight() const;

 private:
  ValueInfo* info_ = nullptr;
};
using Values = std::vector<Value>;

using Nodes = std::list<std::unique_ptr<Node>, PoolAllocator<std::unique_ptr<Node>>>;

class Node {
 public:
  const OpDef* op;
  std::string name;    // MIL's `name` attribute; may be empty
  std::string source;  // where it came from, in the user's words: "ONNX Conv '/stem/Conv'"
  // One entry per attribute field of the op, in its order.
  std::vector<Attribute> attributes;
  Weight literal;  // of a const node
  std::vector<std::unique_ptr<Block>> blocks;
  std::uint32_t mark = 0;  // for whoever walks the program just now, who leaves it 0

  // Inputs of all fields in a row; counts()[i] of them belong to the i-th input field (0: absent).
  const Values& inputs() const { return inputs_; }
  const std::vector<std::uint32_t>& counts() const { return counts_; }
  // The first value of the i-th input field, or an empty handle.
  Value input(std::size_t field) const;
  Value input(std::string_view field) const;
  Values inputs_of(std::size_t field) const;
  void set_inputs(Values inputs, std::vector<std::uint32_t> counts);
  // Replaces one use.
  void set_input(std::size_t position, Value value);
  void set_input(std::string_view field, Value value);
  // Replaces every use of `before`.
  void replace_inputs(Value before, Value after);

  std::size_t output_count() const { return outputs_.size(); }
  Value output(std::size_t i = 0) const { return Value(outputs_[i].get()); }
  void set_output_types(const std::vector<Type>& types);
  const Attribute& attribute(std::string_view field) const;
  void set_attribute(std::string_view field, Attribute value);

  Block* block() const { return block_; }
  bool is(const OpDef& def) const { return op == &def; }
  // "conv 'stem'", for messages.
  std::string label() const;

  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  static void* operator new(std::size_t) { return pool_of<Node>().take(); }
  static void operator delete(void* place) { pool_of<Node>().give(place); }

 private:
  friend class Block;
  explicit Node(const OpDef* def, Block* block);
  Block* block_;
  Nodes::iterator place_;
  Values inputs_;
  std::vector<std::uint32_t> counts_;
  std::vector<std::unique_ptr<ValueInfo>> outputs_;
};

class Block {
 public:
  using Nodes = pomona::Nodes;
  explicit Block(Function* function, Node* owner = nullptr);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  Function& function() const { return *function_; }
  Node* owner() const { return owner_; }  // the cond or while_loop, null for a function's body
  Nodes& nodes() { return nodes_; }
  const Nodes& nodes() const { return nodes_; }

  Value add_input(std::string name, Type type);
  std::size_t input_count() const { return inputs_.size(); }
  Value input(std::size_t i) const { return Value(inputs_[i].get()); }
  Value input(std::string_view name) const;
  void remove_input(std::size_t i);  // it must have no users

  // What the block returns; kept as a node without an op, so that these uses are uses like any other.
  const Values& results() const { return return_->inputs(); }
  void set_results(Values results);
  const Node* return_node() const { return return_.get(); }

  // A new node before `place`, or at the end when null.
  Node& insert(const OpDef* op, Node* place = nullptr);
  // Removes a node whose outputs nobody uses.
  void erase(Node& node);
  void move_before(Node& node, Node& place);
  // The node after this one, or null.
  Node* next(const Node& node);
  // The node before this one, or null.
  Node* previous(const Node& node);
  // The place right where one of the block's values has been made, for insert(): null is the end.
  Node* behind(Value value);

 private:
  void drop_uses();
  Function* function_;
  Node* owner_;
  Nodes nodes_;
  std::vector<std::unique_ptr<ValueInfo>> inputs_;
  std::unique_ptr<Node> return_;
};

// Every use of `before` becomes one of `after`.
void replace_uses(Value before, Value after);

// One input, output or state as the model's users see it; what Core ML keeps in its ModelDescription.
struct Feature {
  enum class Kind : std::uint8_t { array, image, int64, real, string, dictionary, sequence };
  struct Range {
    std::int64_t lower = 1, upper = 1;  // upper < 0: unbounded
    friend bool operator==(const Range&, const Range&) = default;
  };
  std::string name, description;
  Kind kind = Kind::array;
  DType dtype = DType::fp32;  // of an array; key dtype of a dictionary; element dtype of a sequence
  bool optional = false;
  std::optional<double> default_value;  // of an optional array input: every element
  bool has_shape = true;                // outputs may come without one
  Sizes shape;                          // the shape, or the default one; images: [height, width]
  std::vector<Range> ranges;            // flexible: one per dimension (images: height, width)
  std::vector<Sizes> enumerated;        // flexible: the allowed shapes (images: [height, width])
  int color_space = 0;                  // images: Core ML's number (10 grayscale, 20 RGB, 30 BGR, 40 grayscale fp16)
};

struct Function {
  std::string name;
  Target opset;
  Block body;
  std::vector<Feature> inputs, outputs, states;  // by name; the body's inputs hold inputs and states
  std::string predicted_feature, predicted_probabilities;
  std::vector<std::string> class_labels;  // read from `classify`, kept there; here for callers

  Function(std::string function_name, Target target) : name(std::move(function_name)), opset(target), body(this) {}
};

struct Metadata {
  std::string author, license, version, description;
  std::map<std::string, std::string> user;  // any keys, kept as they are
};

struct Program {
  std::vector<std::unique_ptr<Function>> functions;
  std::string default_function;  // empty: the model is written in the single-function form
  Metadata metadata;
  std::map<std::string, std::string> build_info;

  Function& add_function(std::string name, Target opset);
  Function* function(std::string_view name);
  const Function* function(std::string_view name) const { return const_cast<Program*>(this)->function(name); }
  // The default function: the named one, else "main", else the first.
  Function& main();
  const Function& main() const { return const_cast<Program*>(this)->main(); }
};

}  // namespace pomona
