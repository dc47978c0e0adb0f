#include <algorithm>

#include "ir/builder.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/tensor_operation.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

// The shape that a and b broadcast to, without the condition.
Shape of_branches(Shape a, Shape b) {
  if (a.size() < b.size()) std::swap(a, b);
  b.insert(b.begin(), a.size() - b.size(), 1);
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] == 1) a[i] = b[i];
  return a;
}

// The number, in the condition's shape: a constant where that is known, as the Neural Engine does not take the op.
Value filled_like(Builder& g, Value condition, DType dtype, double number) {
  constexpr std::int64_t most_stored = 1 << 18;
  Dim count = element_count(condition.shape());
  if (count.known() && count.value() <= most_stored) {
    std::vector<double> numbers(std::size_t(count.value()), number);
    return g.constant(Tensor::from_numbers(dtype, known_sizes(condition.shape()), numbers));
  }
  if (g.opset() >= iOS16) return g.add(mil::fill_like{.ref_tensor = condition, .value = Scalar{dtype, number}});
  Value nothing = g.add(
      mil::mul{.x = g.add(mil::cast{.x = condition, .dtype = std::string(name(dtype))}), .y = g.scalar(dtype, 0)});
  return number == 0 ? nothing : g.add(mil::add{.x = nothing, .y = g.scalar(dtype, number)});
}

bool is_scalar_literal(Value value) { return value.rank() == 0 && value.literal() && value.number(); }

Status widen(Node& node) {
  Value a = node.input("a"), b = node.input("b"), condition = node.input("cond");
  const Type& type = node.output().type();
  if (type.dtype == DType::boolean || of_branches(a.shape(), b.shape()) == type.shape) return {};
  Builder g(*node.block(), &node);
  g.source = node.source;
  // A nought is the same in any code that weights may get later.
  bool of_b = is_scalar_literal(b) && (*b.number() == 0 || !is_scalar_literal(a));
  Value narrow = of_b ? b : a;
  Value wide = is_scalar_literal(narrow) ? filled_like(g, condition, type.dtype, *narrow.number())
                                         : g.add(mil::add{.x = narrow, .y = filled_like(g, condition, type.dtype, 0)});
  POM_TRY_IN(Status(g.status()), "{}", node.label());
  node.set_input(of_b ? "b" : "a", wide);
  return {};
}

Status widen_in(Block& block) {
  for (auto at = block.nodes().begin(); at != block.nodes().end(); ++at) {
    for (auto& inner : (*at)->blocks) POM_TRY(widen_in(*inner));
    if ((*at)->op && (*at)->op->name == "select") POM_TRY(widen(**at));
  }
  return {};
}

}  // namespace

Status widen_selects(Program& program) {
  for (auto& function : program.functions) POM_TRY_IN(widen_in(function->body), "function '{}'", function->name);
  return {};
}

}  // namespace pomona::rewrite
