#include "ops/control_flow.h"

#include <algorithm>

#include "formats/onnx/compose.h"
#include "formats/onnx/loop.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// If, Loop and Scan. What is known before the model runs is taken apart: the branch that is taken, loops with a known
// number of rounds. The rest becomes MIL's cond and while_loop.
namespace pomona::onnx {
namespace {

constexpr std::int64_t most_rounds = 256;

Value as_scalar(Lowering& g, Value v) { return v && v.rank() > 0 ? g.reshape(v, Shape{}) : v; }

// Exporters write "squeeze this dim" as: if it is 1, Squeeze, else Identity. The ranks of the two differ, so that no
// program can hold both, and whatever follows expects the squeezed one. Null when the branches are anything else.
const GraphProto* squeezing_branch(const GraphProto& a, const GraphProto& b) {
  if (a.output.size() != 1 || b.output.size() != 1) return nullptr;
  const NodeProto* squeeze = nullptr;
  for (const NodeProto& node : a.node) {
    if (node.op_type == "Constant") continue;
    if (squeeze || node.op_type != "Squeeze" || node.input.empty()) return nullptr;
    squeeze = &node;
  }
  if (!squeeze || squeeze->output.empty() || squeeze->output[0] != a.output[0].name) return nullptr;
  Text kept = b.output[0].name;
  if (b.node.size() == 1 && b.node[0].op_type == "Identity" && !b.node[0].input.empty()) kept = b.node[0].input[0];
  return kept == squeeze->input[0] && b.node.size() <= 1 ? &a : nullptr;
}

struct If {
  ONNX_IN(cond);
  ONNX_GRAPH(else_branch);
  ONNX_GRAPH(then_branch);
  Status lower(Lowering& g) const {
    POM_REQUIRE(then_branch && else_branch, "a branch is missing");
    if (auto known = g.as_constant(cond).number()) {
      const GraphProto& taken = *known != 0 ? *then_branch.proto : *else_branch.proto;
      for (const Entry& e : POM_TRY(g.graphs().lower_graph(taken, g.block(), {}))) POM_TRY(g.give(e));
      return {};
    }
    for (auto [a, b] : {std::pair(then_branch.proto, else_branch.proto), {else_branch.proto, then_branch.proto}})
      if (const GraphProto* squeezed = squeezing_branch(*a, *b)) {
        for (const Entry& e : POM_TRY(g.graphs().lower_graph(*squeezed, g.block(), {})))
          POM_TRY(g.result(e.value, e.elem));
        return {};
      }
    std::vector<std::unique_ptr<Block>> blocks;
    std::vector<Entry> entries;
    for (const GraphProto* graph : {then_branch.proto, else_branch.proto}) {
      blocks.push_back(std::make_unique<Block>(&g.block().function()));
      entries = POM_TRY(g.graphs().lower_graph(*graph, *blocks.back(), {}));
      Values results;
      for (const Entry& e : entries) {
        POM_REQUIRE(e.value, "a branch gives no tensor, and which one is taken is not known before the model runs");
        results.push_back(e.value);
      }
      blocks.back()->set_results(std::move(results));
    }
    Values all = g.add_call(def<mil::cond>(), {}, {as_scalar(g, cond)}, {1}, std::move(blocks));
    if (all.size() != entries.size()) return g.status();
    for (std::size_t i = 0; i < all.size(); ++i) POM_TRY(g.result(all[i], entries[i].elem));
    return {};
  }
};

auto round_of(Lowering& g, const GraphProto& body) {
  return [&g, &body](Block& block, const std::vector<Entry>& inputs) {
    return g.graphs().lower_graph(body, block, inputs);
  };
}

struct Loop {
  ONNX_OPTIONAL(M);
  ONNX_OPTIONAL(cond);
  ONNX_VARIADIC(v_initial, .sequence = true);
  ONNX_GRAPH(body);
  Status lower(Lowering& g) const {
    POM_REQUIRE(body, "the body is missing");
    std::size_t states = v_initial.size();
    POM_REQUIRE(body.proto->input.size() == states + 2 && body.proto->output.size() > states,
                "the body takes {} values and gives {}, with {} states", body.proto->input.size(),
                body.proto->output.size(), states);
    constexpr double unknown = -1;
    double rounds = M ? g.as_constant(M).number().value_or(unknown) : unknown;
    double first = cond ? g.as_constant(cond).number().value_or(unknown) : 1;
    if (rounds != unknown && first != unknown && rounds <= double(most_rounds)) {
      if (auto written_out = POM_TRY(try_rounds(g, first != 0 ? std::int64_t(rounds) : 0))) {
        for (const Entry& e : *written_out) POM_TRY(g.give(e));
        return {};
      }
    }
    return lower_while(g);
  }

  // Round by round, for as long as the condition stays known; empty when it does not.
  Result<std::optional<std::vector<Entry>>> try_rounds(Lowering& g, std::int64_t rounds) const {
    std::vector<Entry> state = v_initial.entries;
    std::size_t scans = body.proto->output.size() - 1 - state.size();
    std::vector<Values> collected(scans);
    std::vector<Elem> elems(scans, Elem::float32);
    for (std::int64_t i = 0; i < rounds; ++i) {
      std::vector<Entry> inputs{{g.integer(i), Elem::int64}, {g.scalar(DType::boolean, 1), Elem::boolean}};
      inputs.insert(inputs.end(), state.begin(), state.end());
      std::vector<Entry> out = POM_TRY(g.graphs().lower_graph(*body.proto, g.block(), inputs));
      auto again = out[0].value ? g.as_constant(out[0].value).number() : std::nullopt;
      if (!again && i + 1 < rounds) return std::optional<std::vector<Entry>>();
      std::copy_n(out.begin() + 1, state.size(), state.begin());
      for (std::size_t s = 0; s < scans; ++s) {
        const Entry& e = out[1 + state.size() + s];
        POM_REQUIRE(e.value, "a loop collects tensors only");
        collected[s].push_back(e.value);
        elems[s] = e.elem;
      }
      if (again && *again == 0) break;
    }
    for (std::size_t s = 0; s < scans; ++s) {
      POM_REQUIRE(!collected[s].empty(), "a loop without rounds collects nothing");
      state.push_back({g.add(mil::stack{.values = collected[s], .axis = 0}), elems[s]});
    }
    return std::optional(std::move(state));
  }

  Status lower_while(Lowering& g) const {
    WhileLoop loop{round_of(g, *body.proto), v_initial.entries, M, cond, true, {}, {}};
    for (const Entry& e : POM_TRY(loop.lower(g))) POM_TRY(g.result(e.value, e.elem));
    return {};
  }
};

struct Scan {
  ONNX_VARIADIC(initial_state_and_scan_inputs);
  ONNX_GRAPH(body);
  ONNX_ATTR(num_scan_inputs, int, .required = true);
  ONNX_ATTR(scan_input_axes, Ints);
  ONNX_ATTR(scan_input_directions, Ints);
  ONNX_ATTR(scan_output_axes, Ints);
  ONNX_ATTR(scan_output_directions, Ints);
  Status lower(Lowering& g) const {
    const auto& given = initial_state_and_scan_inputs.entries;
    POM_REQUIRE(body && *num_scan_inputs > 0 && std::size_t(*num_scan_inputs) <= given.size(), "num_scan_inputs is {}",
                *num_scan_inputs);
    std::size_t scans = std::size_t(*num_scan_inputs), states = given.size() - scans;
    POM_REQUIRE(body.proto->output.size() >= states && body.proto->input.size() == given.size(),
                "the body does not fit the inputs");
    auto entry = [](const Ints& list, std::size_t i) { return i < list.size() ? list[i] : 0; };
    std::vector<std::size_t> axes;
    std::optional<std::int64_t> rounds;
    bool written_out = true;
    for (std::size_t i = 0; i < scans; ++i) {
      Value v = given[states + i].value;
      axes.push_back(POM_TRY(g.axis(entry(scan_input_axes, i), v.rank())));
      Dim size = v.shape()[axes[i]];
      if (!size.known() || size.value() > most_rounds || size.value() == 0) written_out = false;
      POM_REQUIRE(!rounds || !size.known() || *rounds == size.value(),
                  "scans over {} and {} elements do not go together", *rounds, size.text());
      if (size.known()) rounds = size.value();
    }
    if (!written_out) return lower_while(g, axes);
    std::vector<Entry> state(given.begin(), given.begin() + std::ptrdiff_t(states));
    std::size_t outputs = body.proto->output.size() - states;
    std::vector<Values> collected(outputs);
    std::vector<Elem> elems(outputs, Elem::float32);
    for (std::int64_t t = 0; t < *rounds; ++t) {
      std::vector<Entry> inputs = state;
      for (std::size_t i = 0; i < scans; ++i) {
        std::int64_t at = entry(scan_input_directions, i) ? *rounds - 1 - t : t;
        Value slice = g.slice(given[states + i].value, axes[i], at, at + 1);
        inputs.push_back({g.squeeze(slice, {std::int64_t(axes[i])}), given[states + i].elem});
      }
      if (!g.status()) return g.status();
      std::vector<Entry> out = POM_TRY(g.graphs().lower_graph(*body.proto, g.block(), inputs));
      std::copy_n(out.begin(), states, state.begin());
      for (std::size_t s = 0; s < outputs; ++s) {
        auto& list = collected[s];
        list.insert(entry(scan_output_directions, s) ? list.begin() : list.end(), out[states + s].value);
        elems[s] = out[states + s].elem;
      }
    }
    for (const Entry& e : state) POM_TRY(g.result(e.value, e.elem));
    for (std::size_t s = 0; s < outputs; ++s) {
      std::size_t axis = POM_TRY(g.axis(entry(scan_output_axes, s), collected[s][0].rank() + 1));
      POM_TRY(g.result(g.add(mil::stack{.values = collected[s], .axis = int(axis)}), elems[s]));
    }
    return {};
  }

 private:
  Status lower_while(Lowering& g, const std::vector<std::size_t>& axes) const {
    const auto& given = initial_state_and_scan_inputs.entries;
    std::size_t states = given.size() - axes.size();
    auto entry = [](const Ints& list, std::size_t i) { return i < list.size() ? list[i] : 0; };
    WhileLoop loop{round_of(g, *body.proto),
                   {given.begin(), given.begin() + std::ptrdiff_t(states)},
                   g.dim(given[states].value, axes[0]),
                   {},
                   false,
                   {},
                   {}};
    for (std::size_t i = 0; i < axes.size(); ++i)
      loop.inputs.push_back({given[states + i], axes[i], entry(scan_input_directions, i) != 0});
    for (std::size_t i = states; i < body.proto->output.size(); ++i)
      loop.outputs.push_back({entry(scan_output_axes, i - states), entry(scan_output_directions, i - states) != 0});
    for (const Entry& e : POM_TRY(loop.lower(g))) POM_TRY(g.result(e.value, e.elem));
    return {};
  }
};

// The first form: each batch item is scanned by itself, over the second dim.
struct ScanByBatch {
  ONNX_OPTIONAL(sequence_lens);
  ONNX_VARIADIC(initial_state_and_scan_inputs);
  ONNX_GRAPH(body);
  ONNX_ATTR(directions, Ints);
  ONNX_ATTR(num_scan_inputs, int, .required = true);
  Status lower(Lowering& g) const {
    POM_REQUIRE(!sequence_lens, "sequences of different lengths are not supported");
    const auto& given = initial_state_and_scan_inputs.entries;
    POM_REQUIRE(!given.empty() && given[0].value && given[0].value.rank() >= 1 && given[0].value.shape()[0].known(),
                "the number of sequences is not known");
    std::int64_t batch = given[0].value.shape()[0].value();
    POM_REQUIRE(batch > 0 && batch <= most_rounds, "a scan of {} sequences is not supported", batch);
    std::vector<Values> parts;
    std::vector<Elem> elems;
    for (std::int64_t b = 0; b < batch; ++b) {
      std::vector<Entry> one;
      for (const Entry& e : given) one.push_back({g.squeeze(g.slice(e.value, 0, b, b + 1), {0}), e.elem});
      AttributeProto graph;
      graph.name = "body";
      graph.type = GRAPH;
      graph.g = body_attribute(g);
      AttributeProto backward = wholes("scan_input_directions", *directions);
      auto outputs = POM_TRY(
          apply_all(g, "Scan", one, {graph, whole("num_scan_inputs", *num_scan_inputs), backward}, g.output_count()));
      parts.resize(outputs.size());
      elems.resize(outputs.size());
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        parts[i].push_back(outputs[i].value);
        elems[i] = outputs[i].elem;
      }
    }
    for (std::size_t i = 0; i < parts.size(); ++i)
      POM_TRY(g.result(g.add(mil::stack{.values = parts[i], .axis = 0}), elems[i]));
    return {};
  }
  static std::shared_ptr<GraphProto> body_attribute(Lowering& g) {
    for (const AttributeProto& a : g.call().attributes)
      if (a.name == "body") return a.g;
    return nullptr;
  }
};

}  // namespace

Rules control_flow_chapter() {
  return {
      rule<If>("If"),
      rule<Loop>("Loop"),
      rule<Scan>("Scan", 9),
      rule<ScanByBatch>("Scan", 8, 9),
  };
}

}  // namespace pomona::onnx
