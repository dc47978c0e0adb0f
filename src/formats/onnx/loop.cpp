#include "formats/onnx/loop.h"

#include <fmt/format.h>

#include "ops/control_flow.h"
#include "ops/elementwise_binary.h"
#include "ops/gather_scatter.h"
#include "ops/list.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::onnx {
namespace {

// Attempts at types of the variables that the body keeps; each opens dims, of which there are few.
constexpr int most_attempts = 8;

Value scalar(Lowering& g, Value v) { return v && v.rank() > 0 ? g.reshape(v, Shape{}) : v; }

// Lists hold tensors of rank 1 or more.
Shape element_shape(const Collected& one) { return one.type.shape.empty() ? Shape{1} : one.type.shape; }

}  // namespace

// The lists are made in the block of the loop, once the body has shown what goes into them.
Values WhileLoop::variables(Lowering& g, const std::vector<Collected>& collected) const {
  Values all{g.integer(0), first ? scalar(g, first) : g.scalar(DType::boolean, 1)};
  for (const Entry& state : states) all.push_back(state.value);
  for (std::size_t i = 0; i < collected.size(); ++i) {
    Shape shape = element_shape(collected[i]);
    mil::make_list list;
    list.dtype.value = std::string(name(collected[i].type.dtype));
    list.dynamic_length.value = true;
    if (all_known(shape)) {
      list.elem_shape.value = known_sizes(shape);
    } else {
      Strings sizes;
      for (std::size_t d = 0; d < shape.size(); ++d)
        sizes.push_back(shape[d].known() ? std::to_string(shape[d].value()) : fmt::format("collected_{}_{}", i, d));
      list.elem_shape.value = sizes;
    }
    all.push_back(g.add(list));
  }
  return all;
}

// Lowers the body for variables of these types. False: the types had to be opened, and all is to be done again.
Result<bool> WhileLoop::attempt(Lowering& g, std::vector<Type>& types, std::vector<Collected>& collected,
                                std::vector<std::unique_ptr<Block>>& blocks) const {
  blocks.clear();
  for (int k = 0; k < 2; ++k) {
    Block& block = *blocks.emplace_back(std::make_unique<Block>(&g.block().function()));
    for (std::size_t i = 0; i < types.size(); ++i)
      block.add_input((k ? "body_" : "while_") + std::to_string(i), types[i]);
  }
  Builder test(*blocks[0]);
  Value more = blocks[0]->input(1);
  if (rounds) {
    Value left = test.add(mil::less{.x = blocks[0]->input(0), .y = rounds});
    more = test.add(mil::logical_and{.x = more, .y = left});
  }
  POM_TRY(Status(test.status()));
  blocks[0]->set_results({more});

  Block& inner = *blocks[1];
  std::vector<Entry> given;
  if (counts) given = {{inner.input(0), Elem::int64}, {inner.input(1), Elem::boolean}};
  for (std::size_t i = 0; i < states.size(); ++i) given.push_back({inner.input(i + 2), states[i].elem});
  Lowering step(inner, g.call(), g.opset(), g.graphs());
  for (const ScanInput& input : inputs) {
    Value at = inner.input(0);
    if (input.backward) at = step.minus(step.minus(rounds, 1), at);
    Value slice = step.through_numbers(input.entry.value, [&](Value x) {
      return step.add(mil::gather{.x = x, .indices = at, .axis = int(input.axis)});
    });
    given.push_back({slice, input.entry.elem});
  }
  if (!step.status()) return step.status().error();
  std::vector<Entry> out = POM_TRY(body(inner, given));
  std::size_t at = counts ? 1 : 0;
  Value again = counts ? scalar(step, out[0].value) : step.scalar(DType::boolean, 1);
  Values results{step.plus(inner.input(0), step.integer(1)), again};
  for (std::size_t i = 0; i < states.size(); ++i) results.push_back(out[at + i].value);
  for (Value result : results) POM_REQUIRE(result, "a loop variable is no tensor");
  bool settled = true;
  for (std::size_t i = 0; i < results.size(); ++i) {
    Type joined = POM_TRY_IN(mil::join_types(types[i], results[i].type()), "loop variable {}", i);
    if (joined == types[i]) continue;
    // A dim that is unknown stays so by a name of its own, which the next attempt keeps.
    for (std::size_t d = 0; d < joined.shape.size(); ++d)
      if (!(joined.shape[d] == types[i].shape[d])) joined.shape[d] = Dim::named(fmt::format("loop_{}_{}", i, d));
    settled = settled && joined == types[i];
    types[i] = joined;
  }
  std::size_t first_collected = at + states.size();
  bool lists_known = types.size() == 2 + states.size() + (out.size() - first_collected);
  if (!lists_known) {
    if (!settled) return false;
    for (std::size_t i = first_collected; i < out.size(); ++i) {
      POM_REQUIRE(out[i].value, "what a round gives is no tensor");
      collected.push_back({out[i].value.type(), out[i].elem});
    }
    return false;
  }
  for (std::size_t i = 0; i < collected.size(); ++i) {
    Value one = out[first_collected + i].value;
    if (one.rank() == 0) one = step.reshape(one, Shape{1});
    results.push_back(
        step.add(mil::list_write{.ls = inner.input(2 + states.size() + i), .index = inner.input(0), .value = one}));
  }
  if (!step.status()) return step.status().error();
  inner.set_results(results);
  return settled;
}

Result<std::vector<Entry>> WhileLoop::lower(Lowering& g) const {
  for (const Entry& state : states) POM_REQUIRE(state.value, "a loop variable is no tensor");
  WhileLoop known{body, states, scalar(g, rounds), first, counts, inputs, outputs};
  std::vector<Collected> collected;
  Values all = known.variables(g, {});
  if (!g.status()) return g.status().error();
  std::vector<Type> types;
  for (Value v : all) types.push_back(v.type());
  std::vector<std::unique_ptr<Block>> blocks;
  for (int k = 0;; ++k) {
    POM_REQUIRE(k < most_attempts, "the types of the loop's variables change in every round");
    if (POM_TRY(known.attempt(g, types, collected, blocks))) break;
    if (collected.empty() || types.size() > 2 + states.size()) continue;
    all = known.variables(g, collected);
    if (!g.status()) return g.status().error();
    for (std::size_t i = types.size(); i < all.size(); ++i) types.push_back(all[i].type());
  }
  auto count = std::uint32_t(all.size());
  Values made = g.add_call(def<mil::while_loop>(), {}, all, {count}, std::move(blocks));
  if (made.size() != count) return g.status().error();
  std::vector<Entry> results;
  for (std::size_t i = 0; i < states.size(); ++i) results.push_back({made[i + 2], states[i].elem});
  for (std::size_t i = 0; i < collected.size(); ++i)
    results.push_back(POM_TRY(gathered(g, made[2 + states.size() + i], collected[i], i, made[0])));
  return results;
}

// What a list holds, stacked.
Result<Entry> WhileLoop::gathered(Lowering& g, Value list, const Collected& one, std::size_t i, Value count) const {
  bool backward = i < outputs.size() && outputs[i].backward;
  Value places = g.add(mil::range_1d{.end = count, .start = g.integer(0), .step = g.integer(1)});
  if (backward) places = g.minus(g.minus(count, 1), places);
  Value all = g.add(mil::list_gather{.ls = list, .indices = places});
  if (!all) return g.status().error();
  std::size_t rank = one.type.shape.size();
  if (rank == 0) all = g.squeeze(all, {1});
  std::int64_t axis = i < outputs.size() ? outputs[i].axis : 0;
  std::size_t along = POM_TRY(g.axis(axis, rank + 1));
  Ints perm;
  for (std::size_t d = 1; d <= rank; ++d) perm.push_back(std::int64_t(d));
  perm.insert(perm.begin() + std::ptrdiff_t(along), 0);
  return Entry{g.transpose(all, perm), one.elem};
}

}  // namespace pomona::onnx
