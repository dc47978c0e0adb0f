// What a lowering rule works with: a builder of MIL nodes that folds constants as it goes, the node in hand, and the
// vocabulary of shapes that ONNX operators share.
//
//   Value c = g.dim(x, 1);                               // a constant when x's channels are known
//   Value flat = g.reshape(x, {g.dims(x)[0], -1});       // static where it can be
//   return g.result(g.add(mil::relu{.x = flat}));        // the node's next output
//
// Folding: an op whose inputs are all constants becomes a constant; small ones are computed at once, large ones become
// a weight's recipe, computed when the weight is written. An op that only makes large data out of small (tile, fill)
// stays an op. Integer vectors whose elements are known although their operands are not (shapes) become constants.
//
// Errors stick, as in Builder: after the first one every value is empty, and result() returns it.
#pragma once
#include <functional>
#include <optional>

#include "formats/onnx/rule.h"
#include "formats/onnx/tensor.h"
#include "ir/builder.h"

namespace pomona::onnx {

// Lowers a subgraph into a block; implemented by the importer.
class GraphLowering {
 public:
  // `inputs` are the values of the graph's inputs; names of the surrounding graphs are visible.
  virtual Result<std::vector<Entry>> lower_graph(const GraphProto& graph, Block& block,
                                                 const std::vector<Entry>& inputs) = 0;
  virtual TensorFiles& files() = 0;
  // Something the file leaves open is taken for granted.
  virtual void assume(std::string sentence) = 0;

 protected:
  ~GraphLowering() = default;
};

class Lowering {
 public:
  Lowering(Block& block, const NodeCall& call, int opset, GraphLowering& graphs);

  // Nodes. add() returns the first result.
  template <class Op>
  Value add(const Op& op) {
    Values all = add_all(op);
    return all.empty() ? Value() : all[0];
  }
  template <class Op>
  Values add_all(const Op& op) {
    return add_erased(def<Op>(), &op);
  }
  Values add_call(const OpDef& op, std::vector<Attribute> attributes, Values inputs, std::vector<std::uint32_t> counts,
                  std::vector<std::unique_ptr<Block>> blocks = {});
  Value constant(Weight weight) { return builder_.constant(std::move(weight)); }
  Value ints(const Ints& values) { return builder_.ints(values); }
  Value scalar(DType dtype, double number) { return builder_.scalar(dtype, number); }
  Value integer(std::int64_t number) { return scalar(DType::int32, double(number)); }
  // A scalar of the dtype of `like`.
  Value number(Value like, double value) { return builder_.number(like, value); }
  // The value as a constant, folding what it is made of whatever its size; itself when that cannot be.
  Value as_constant(Value value);

  // The node in hand.
  int opset() const { return opset_; }
  Target target() const { return builder_.opset(); }
  const NodeCall& call() const { return *call_; }
  Block& block() { return builder_.block(); }
  GraphLowering& graphs() { return *graphs_; }
  void assume(const std::string& sentence);
  bool wants(std::size_t output) const;
  std::size_t output_count() const { return call_->proto->output.size(); }
  // Sets the node's next output. Without an element type: that of the first input of the same dtype, or the usual one.
  Status result(Value value, std::optional<Elem> elem = {});
  Status results(const Values& values);
  // The same of a sequence, or of an optional that is not there.
  Status give(Entry entry);
  const std::vector<Entry>& outputs() const { return outputs_; }
  const Status& status() const { return builder_.status(); }

  // Arithmetic; numbers take the other operand's dtype.
  Value plus(Value a, Value b);
  Value minus(Value a, Value b);
  Value times(Value a, Value b);
  Value over(Value a, Value b);
  Value plus(Value a, double b) { return plus(a, number(a, b)); }
  Value minus(Value a, double b) { return minus(a, number(a, b)); }
  Value times(Value a, double b) { return times(a, number(a, b)); }
  Value over(Value a, double b) { return over(a, number(a, b)); }
  Value select(Value condition, Value a, Value b);
  Value cast(Value x, DType dtype);
  // An integer result brought into the range of a narrow element type, as arithmetic modulo 2^bits does.
  Value wrap(Value x, Elem elem);

  // x rounded to a narrower floating-point type. What is too large becomes the largest number when it saturates (or
  // the type has no other way), else infinity or NaN.
  Value rounded_to(Value x, Elem elem, bool saturate = true);
  // To the power of two below, above or nearest.
  Value rounded_to_power(Value x, const std::string& mode);

  // Shapes. dims() of an empty handle is empty.
  Shape dims(Value x) const { return x ? x.shape() : Shape(); }
  Value shape_of(Value x);
  Value dim(Value x, std::size_t axis);
  // Known dims as constants, others read from a source that has such a dim; at most one other is -1 if allowed.
  Value shape_value(const Shape& shape, const Values& sources, bool may_infer_one = false);
  Value concat(const Values& values, int axis);
  Value reshape(Value x, const Shape& shape);
  // To a shape that is only known when the model runs; -1 and known parts are used where they can be.
  Value reshape(Value x, Value shape);
  Value transpose(Value x, const Ints& perm);
  Value expand_dims(Value x, const Ints& axes);
  Value squeeze(Value x, const Ints& axes);
  // x[begin:end:step] along one axis; bounds as ONNX has them.
  Value slice(Value x, std::size_t axis, std::int64_t begin, std::int64_t end, std::int64_t step = 1);
  Value broadcast_to(Value x, Value shape);
  Value broadcast_to(Value x, const Shape& shape, const Values& sources);
  // A tensor of one value everywhere.
  Value filled(const Shape& shape, const Values& sources, DType dtype, double value);
  // [C] made to line up with [N, C, ...] of that rank.
  Value per_channel(Value x, std::size_t rank);
  // x of rank `rank` with leading ones added.
  Value with_rank(Value x, std::size_t rank);
  // Moves booleans through an operation that takes numbers only.
  Value through_numbers(Value x, const std::function<Value(Value)>& operation);
  // Indices in [-size, size) brought into [0, size).
  Value non_negative(Value indices, Value size, Elem elem);

  // What a rule needs to know of an input before the model runs.
  Result<Ints> constant_ints(Value value, std::string_view what) const;
  Result<double> constant_number(Value value, std::string_view what) const;
  Result<std::size_t> axis(std::int64_t axis, std::size_t rank) const;

 private:
  Values add_erased(const OpDef& op, const void* fields);
  Value as_constant(Value value, std::map<Value, Value>& known, int depth);
  std::optional<Values> fold(const OpDef& op, const std::vector<Attribute>& attributes, const Values& inputs,
                             const std::vector<std::uint32_t>& counts, bool whatever_size);
  Builder builder_;
  const NodeCall* call_;
  int opset_;
  GraphLowering* graphs_;
  std::vector<Entry> outputs_;
};

}  // namespace pomona::onnx
