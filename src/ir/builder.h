// Adds nodes to a block, one op struct at a time.
//
//   Builder g(block);
//   Value h = g.add(mil::linear{.x = x, .weight = w, .bias = b}, "dense");
//   Value y = g.add(mil::relu{.x = h});
//   POM_TRY(g.status());        // the first error, if any
//
// Errors stick: after a failed add() every later one returns an empty handle, so that code reads as the graph does
// and looks at status() once. Every node made while `source` is set carries it.
#pragma once
#include <string>

#include "ir/op.h"

namespace pomona {

class Builder {
 public:
  // Appends to the block, or inserts before `place`.
  explicit Builder(Block& block, Node* place = nullptr) : block_(&block), place_(place) {}
  explicit Builder(Function& function) : Builder(function.body) {}

  template <class Op>
  Value add(const Op& op, std::string name = {}) {
    Values outputs = add_all(op, std::move(name));
    return outputs.empty() ? Value() : outputs[0];
  }
  template <class Op>
  Values add_all(const Op& op, std::string name = {}) {
    return add_erased(def<Op>(), &op, std::move(name));
  }
  // A node of any op from its parts; the blocks (of cond and while_loop) become the node's.
  Values add_call(const OpDef& op, std::vector<Attribute> attributes, Values inputs, std::vector<std::uint32_t> counts,
                  std::string name = {}, std::vector<std::unique_ptr<Block>> blocks = {});

  Value constant(Weight weight, std::string name = {});
  Value scalar(DType dtype, double number) { return constant(Tensor::scalar(dtype, number)); }
  // A constant of the dtype of `like`.
  Value number(Value like, double number) { return like ? scalar(like.dtype(), number) : Value(); }
  Value ints(const Ints& values) { return constant(Tensor::ints(values)); }

  Target opset() const { return block_->function().opset; }
  Block& block() { return *block_; }
  Node* place() const { return place_; }
  const Status& status() const { return status_; }
  // Records an error (the first one stays).
  Value refuse(Error error);
  std::string source;

 private:
  Values add_erased(const OpDef& op, const void* fields, std::string name);
  Block* block_;
  Node* place_;
  Status status_;
};

// Makes the node's output types (and known contents) again after its inputs changed.
Status infer_again(Node& node);

}  // namespace pomona
