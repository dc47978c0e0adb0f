#include "ops/recurrent.h"

#include <algorithm>

#include "base/ascii.h"
#include "formats/onnx/compose.h"
#include "formats/onnx/loop.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// LSTM, GRU and RNN. With constant weights and the usual activations a direction becomes MIL's own layer; anything else
// is written out step by step, or is a loop when there are many steps or an unknown number of them. The backward
// direction runs over the reversed sequence, and its outputs are turned round again: that relies on no reading of what
// MIL's `reverse` does.
namespace pomona::onnx {
namespace {

// Longer sequences are a loop.
constexpr std::int64_t most_steps = 64;

enum class Layer { lstm, gru, rnn };
std::int64_t gate_count(Layer layer) { return layer == Layer::lstm ? 4 : layer == Layer::gru ? 3 : 1; }

struct Activation {
  std::string name;  // in lower case
  double alpha = 0, beta = 0;
  bool custom = false;
};

struct Direction {
  Layer layer;
  Value x;                    // [steps, batch, input], already reversed for the backward direction
  Value w, r, bias, h, c, p;  // w [gates*H, I], r [gates*H, H], bias [2*gates*H], p [3H]; bias and p may be empty
  Value lengths;              // of each sequence; empty: all have the whole length
  std::int64_t hidden = 0;
  std::vector<Activation> activations;
  std::optional<double> clip;
  bool reset_after = false, input_forget = false;
  bool quantised = false;  // what is multiplied with r is quantised to 8 bits at every step
};
struct Outputs {
  Value y, h, c;  // y [steps, batch, H], h and c [batch, H]
};

// Rows of ONNX's gate blocks in another order.
Value blocks(Lowering& g, Value v, std::int64_t hidden, const std::vector<int>& order) {
  Values parts;
  for (int i : order) parts.push_back(g.slice(v, 0, i * hidden, (i + 1) * hidden));
  return g.concat(parts, 0);
}

std::optional<std::string> mil_name(const Activation& a, Layer layer) {
  if (a.custom) return {};
  if (a.name == "sigmoid" || a.name == "tanh" || a.name == "relu") return a.name;
  if (a.name == "hardsigmoid") return layer == Layer::rnn ? std::string("sigmoid_hard") : std::string("hard_sigmoid");
  return {};
}

// By MIL's layer; empty when it cannot.
std::optional<Outputs> by_layer(Lowering& g, const Direction& d) {
  if (d.clip || d.input_forget || d.lengths || d.quantised) return {};
  std::vector<std::string> names;
  for (const Activation& a : d.activations) {
    auto name = mil_name(a, d.layer);
    if (!name) return {};
    names.push_back(*name);
  }
  Value w = g.as_constant(d.w), r = g.as_constant(d.r);
  Value bias = d.bias ? g.as_constant(d.bias) : Value(), p = d.p ? g.as_constant(d.p) : Value();
  if (!w.literal() || !r.literal() || (bias && !bias.literal()) || (p && !p.literal())) return {};
  std::int64_t rows = gate_count(d.layer) * d.hidden;
  Value wb = bias ? g.slice(bias, 0, 0, rows) : Value(), rb = bias ? g.slice(bias, 0, rows, 2 * rows) : Value();
  Value sum = bias ? g.plus(wb, rb) : Value();
  auto known = [&](Value v) { return v ? g.as_constant(v) : v; };
  Values all;
  if (d.layer == Layer::lstm) {
    // ONNX: i o f c; MIL: i f o c
    std::vector<int> order{0, 2, 1, 3};
    all = g.add_all(mil::lstm{.x = d.x,
                              .initial_h = d.h,
                              .initial_c = d.c,
                              .weight_ih = known(blocks(g, w, d.hidden, order)),
                              .weight_hh = known(blocks(g, r, d.hidden, order)),
                              .bias = sum ? known(blocks(g, sum, d.hidden, order)) : Value(),
                              .peephole = p ? known(blocks(g, p, d.hidden, {0, 2, 1})) : Value(),
                              .output_sequence = true,
                              .recurrent_activation = names[0],
                              .cell_activation = names[1],
                              .activation = names[2]});
  } else if (d.layer == Layer::gru) {
    // ONNX: z r h; MIL: r h z. With the reset after the product, the two biases stay apart.
    std::vector<int> order{1, 2, 0};
    if (d.reset_after && g.target() < Target::iOS18) return {};
    Value bias_mil = sum, input_bias;
    if (d.reset_after && bias) {
      bias_mil = rb;
      input_bias = known(blocks(g, wb, d.hidden, order));
    }
    mil::gru layer{.x = d.x,
                   .initial_h = d.h,
                   .weight_ih = known(blocks(g, w, d.hidden, order)),
                   .weight_hh = known(blocks(g, r, d.hidden, order)),
                   .bias = bias_mil ? known(blocks(g, bias_mil, d.hidden, order)) : Value(),
                   .output_sequence = true,
                   .recurrent_activation = names[0],
                   .activation = names[1],
                   .input_bias = input_bias};
    if (d.reset_after) layer.reset_after.value = true;
    all = g.add_all(layer);
  } else {
    all = g.add_all(mil::rnn{.x = d.x,
                             .initial_h = d.h,
                             .weight_ih = w,
                             .weight_hh = r,
                             .bias = known(sum),
                             .output_sequence = true,
                             .activation = names[0]});
  }
  if (all.size() < 2) return Outputs{};
  return Outputs{all[0], all[1], all.size() > 2 ? all[2] : Value()};
}

Result<Value> activate(Lowering& g, const Activation& a, Value x, const std::optional<double>& clip) {
  if (clip)
    x = g.add(mil::maximum{.x = g.add(mil::minimum{.x = x, .y = g.number(x, *clip)}), .y = g.number(x, -*clip)});
  if (a.name == "sigmoid") return g.add(mil::sigmoid{.x = x});
  if (a.name == "tanh") return g.add(mil::tanh{.x = x});
  if (a.name == "relu") return g.add(mil::relu{.x = x});
  if (a.name == "hardsigmoid") return g.add(mil::sigmoid_hard{.x = x, .alpha = a.alpha, .beta = a.beta});
  if (a.name == "leakyrelu") return g.add(mil::leaky_relu{.x = x, .alpha = a.alpha});
  if (a.name == "thresholdedrelu") return g.add(mil::thresholded_relu{.x = x, .alpha = a.alpha});
  if (a.name == "scaledtanh") return g.add(mil::scaled_tanh{.x = x, .alpha = a.alpha, .beta = a.beta});
  if (a.name == "elu") return g.add(mil::elu{.x = x, .alpha = a.alpha});
  if (a.name == "affine") return g.add(mil::linear_activation{.x = x, .alpha = a.alpha, .beta = a.beta});
  if (a.name == "softsign") return g.add(mil::softsign{.x = x});
  if (a.name == "softplus") return g.add(mil::softplus{.x = x});
  return fail("the activation '{}' is not supported", a.name);
}

struct State {
  Value h, c;
};

// x as 8 bits hold it, with a scale that suits its range.
Result<Value> through_bytes(Lowering& g, Value x) {
  Entries q = POM_TRY(apply_all(g, "DynamicQuantizeLinear", {{x, Elem::float32}}, {}, 3));
  return g.times(g.cast(g.minus(q[0].value, q[2].value), DType::fp32), q[1].value);
}

Result<State> step(Lowering& g, const Direction& d, Value xt, const State& before) {
  State s = before;
  Value plain = s.h;
  if (d.quantised) s.h = POM_TRY(through_bytes(g, s.h));
  std::int64_t n = d.hidden, rows = gate_count(d.layer) * n;
  Value x = g.add(mil::matmul{.x = xt, .y = d.w, .transpose_y = true});
  if (d.bias) x = g.plus(x, g.slice(d.bias, 0, 0, rows));
  auto gate = [&](Value v, std::int64_t i) { return g.slice(v, 1, i * n, (i + 1) * n); };
  auto act = [&](std::size_t i, Value v) { return activate(g, d.activations[i], v, d.clip); };
  auto unclipped = [&](std::size_t i, Value v) { return activate(g, d.activations[i], v, {}); };
  auto recurrent = [&](Value h, std::int64_t first, std::int64_t last) {
    Value v = g.add(mil::matmul{.x = h, .y = g.slice(d.r, 0, first * n, last * n), .transpose_y = true});
    return d.bias ? g.plus(v, g.slice(d.bias, 0, rows + first * n, rows + last * n)) : v;
  };
  if (d.layer == Layer::rnn) return State{POM_TRY(act(0, g.plus(x, recurrent(s.h, 0, 1)))), {}};
  if (d.layer == Layer::gru) {
    Value zr = g.plus(g.slice(x, 1, 0, 2 * n), recurrent(s.h, 0, 2));
    Value z = POM_TRY(act(0, gate(zr, 0))), r = POM_TRY(act(0, gate(zr, 1)));
    Value inner = d.reset_after ? g.times(r, recurrent(s.h, 2, 3)) : recurrent(g.times(r, plain), 2, 3);
    Value fresh = POM_TRY(act(1, g.plus(gate(x, 2), inner)));
    return State{g.plus(g.times(g.minus(g.number(z, 1), z), fresh), g.times(z, plain)), {}};
  }
  Value all = g.plus(x, recurrent(s.h, 0, 4));
  auto peephole = [&](Value v, std::int64_t i, Value cell) {
    return d.p ? g.plus(v, g.times(g.slice(d.p, 0, i * n, (i + 1) * n), cell)) : v;
  };
  Value i = POM_TRY(act(0, peephole(gate(all, 0), 0, s.c)));
  Value f = d.input_forget ? g.minus(g.number(i, 1), i) : POM_TRY(act(0, peephole(gate(all, 2), 2, s.c)));
  Value fresh = POM_TRY(act(1, gate(all, 3)));
  Value c = g.plus(g.times(f, s.c), g.times(i, fresh));
  Value o = POM_TRY(act(0, peephole(gate(all, 1), 1, c)));
  return State{g.times(o, POM_TRY(unclipped(2, c))), c};
}

// The state after a step, kept as it was where the sequence has ended; and what the step shows, zeros there.
struct Step {
  State state;
  Value y;
};
Result<Step> masked_step(Lowering& g, const Direction& d, Value xt, Value t, const State& before) {
  State after = POM_TRY(step(g, d, xt, before));
  if (!d.lengths) return Step{after, after.h};
  Value running = g.expand_dims(g.add(mil::less{.x = t, .y = d.lengths}), {1});
  Value y = g.select(running, after.h, g.number(after.h, 0));
  State kept{g.select(running, after.h, before.h), after.c ? g.select(running, after.c, before.c) : Value()};
  return Step{kept, y};
}

Result<Outputs> by_loop(Lowering& g, const Direction& d) {
  std::vector<Entry> states{{d.h, Elem::float32}};
  if (d.c) states.push_back({d.c, Elem::float32});
  auto round = [&](Block& block, const std::vector<Entry>& given) -> Result<std::vector<Entry>> {
    Lowering inner(block, g.call(), g.opset(), g.graphs());
    std::size_t first = states.size();
    State before{given[0].value, d.c ? given[1].value : Value()};
    Step made = POM_TRY(masked_step(inner, d, given[first].value, given[first + 1].value, before));
    if (!inner.status()) return inner.status().error();
    std::vector<Entry> results{{made.state.h, Elem::float32}};
    if (d.c) results.push_back({made.state.c, Elem::float32});
    results.push_back({made.y, Elem::float32});
    return results;
  };
  Value steps = g.dim(d.x, 0);
  Value line = g.add(mil::range_1d{.end = steps, .start = g.integer(0), .step = g.integer(1)});
  WhileLoop loop{round, states, steps, {}, false, {{{d.x, Elem::float32}}, {{line, Elem::int64}}}, {}};
  std::vector<Entry> all = POM_TRY(loop.lower(g));
  return Outputs{all.back().value, all[0].value, d.c ? all[1].value : Value()};
}

Result<Outputs> by_steps(Lowering& g, const Direction& d) {
  Dim steps = d.x.shape()[0];
  if (!steps.known() || steps.value() > most_steps) return by_loop(g, d);
  State s{d.h, d.c};
  Values ys;
  for (std::int64_t t = 0; t < steps.value(); ++t) {
    Value xt = g.squeeze(g.slice(d.x, 0, t, t + 1), {0});
    Step made = POM_TRY(masked_step(g, d, xt, g.integer(t), s));
    s = made.state;
    ys.push_back(made.y);
    if (!g.status()) return g.status().error();
  }
  POM_REQUIRE(!ys.empty(), "the sequence is empty");
  return Outputs{g.add(mil::stack{.values = ys, .axis = 0}), s.h, s.c};
}

// The activations of all directions, one after another, with ONNX's own defaults.
Result<std::vector<Activation>> activations_of(Layer layer, std::size_t directions, const Strings& names,
                                               const Floats& alphas, const Floats& betas) {
  Strings usual = layer == Layer::lstm  ? Strings{"sigmoid", "tanh", "tanh"}
                  : layer == Layer::gru ? Strings{"sigmoid", "tanh"}
                                        : Strings{"tanh"};
  std::size_t each = usual.size();
  POM_REQUIRE(
      names.empty() || names.size() == each * directions || (layer == Layer::rnn && names == Strings{"Tanh", "Tanh"}),
      "{} activations are named, but {} are needed", names.size(), each * directions);
  std::vector<Activation> all;
  std::size_t alpha = 0, beta = 0;
  for (std::size_t i = 0; i < each * directions; ++i) {
    Activation a{names.empty() ? usual[i % each] : ascii_lower(names[i])};
    auto next = [&](const Floats& given, std::size_t& at, double standard) {
      if (at >= given.size()) return standard;
      a.custom = a.custom || given[at] != standard;
      return given[at++];
    };
    // Parameters are listed only for the functions that take them.
    if (a.name == "hardsigmoid") {
      a.alpha = next(alphas, alpha, double(0.2f));
      a.beta = next(betas, beta, 0.5);
    } else if (a.name == "leakyrelu") {
      a.alpha = next(alphas, alpha, double(0.01f));
    } else if (a.name == "elu" || a.name == "thresholdedrelu") {
      a.alpha = next(alphas, alpha, 1);
    } else if (a.name == "scaledtanh" || a.name == "affine") {
      a.alpha = next(alphas, alpha, 1);
      a.beta = next(betas, beta, a.name == "affine" ? 0 : 1);
    }
    all.push_back(a);
  }
  return all;
}

struct Common {
  Layer layer;
  const InputField &X, &W, &R, &B, &sequence_lens, &initial_h;
  Value initial_c, P;
  const Strings& activations;
  const Floats &alphas, &betas;
  std::optional<float> clip;
  std::string direction;
  bool batch_first = false, reset_after = false, input_forget = false, quantised = false;
  Value w, r;  // in place of W and R
};

Status lower_recurrent(Lowering& g, const Common& k) {
  POM_REQUIRE(k.X.rank() == 3 && k.W.rank() == 3 && k.R.rank() == 3, "X, W and R must have rank 3");
  Dim size = (k.r ? k.r : *k.R).shape()[2];
  POM_REQUIRE(size.known() && size.value() > 0, "the hidden size is not known");
  bool both = k.direction == "bidirectional", backward = k.direction == "reverse";
  POM_REQUIRE(both || backward || k.direction == "forward", "direction is '{}'", k.direction);
  std::size_t directions = both ? 2 : 1;
  POM_REQUIRE(k.W.shape()[0] == int(directions) && k.R.shape()[0] == int(directions),
              "W and R do not hold {} directions", directions);
  POM_REQUIRE((!k.B || k.B.rank() == 2) && (!k.P || k.P.rank() == 2) && (!k.initial_h || k.initial_h.rank() == 3) &&
                  (!k.initial_c || k.initial_c.rank() == 3),
              "B and P must have rank 2, the initial states rank 3");
  std::int64_t hidden = size.value();
  Value x = k.batch_first ? g.transpose(k.X, {1, 0, 2}) : *k.X;
  if (k.quantised) x = POM_TRY(through_bytes(g, x));
  Value lengths;
  if (k.sequence_lens) {
    // Lengths that are all the whole sequence say nothing.
    auto known = g.as_constant(k.sequence_lens).integers();
    bool whole = known.has_value();
    for (std::int64_t length : known.value_or(Ints{})) whole = whole && x.shape()[0] == Dim(length);
    if (!whole) lengths = k.sequence_lens;
  }
  auto all = POM_TRY(activations_of(k.layer, directions, k.activations, k.alphas, k.betas));
  std::size_t each = all.size() / directions;
  Shape state_shape{x.shape()[1], hidden};
  Values ys, hs, cs;
  for (std::size_t i = 0; i < directions; ++i) {
    bool reversed = backward || i == 1;
    auto at = std::int64_t(i);
    auto part = [&](Value v) { return v ? g.squeeze(g.slice(v, 0, at, at + 1), {0}) : v; };
    auto state = [&](Value v) {
      if (!v) return g.filled(state_shape, {x}, x.dtype(), 0);
      return part(k.batch_first ? g.transpose(v, {1, 0, 2}) : v);
    };
    // A sequence that ends early is turned round within its own length.
    auto turned = [&](Value v) {
      if (!reversed) return v;
      if (lengths) return g.add(mil::reverse_sequence{.x = v, .lengths = lengths, .seq_axis = 0, .batch_axis = 1});
      return g.add(mil::reverse{.x = v, .axes = Ints{0}});
    };
    Direction d{k.layer, turned(x)};
    d.lengths = lengths;
    d.w = part(k.w ? k.w : *k.W);
    d.r = part(k.r ? k.r : *k.R);
    d.bias = part(k.B);
    d.p = part(k.P);
    d.h = state(k.initial_h);
    d.c = k.layer == Layer::lstm ? state(k.initial_c) : Value();
    d.hidden = hidden;
    d.activations.assign(all.begin() + std::ptrdiff_t(i * each), all.begin() + std::ptrdiff_t((i + 1) * each));
    if (k.clip && *k.clip > 0) d.clip = *k.clip;
    d.reset_after = k.reset_after;
    d.input_forget = k.input_forget;
    d.quantised = k.quantised;
    if (!g.status()) return g.status();
    auto layer = by_layer(g, d);
    Outputs out = layer ? *layer : POM_TRY(by_steps(g, d));
    if (!g.status()) return g.status();
    ys.push_back(turned(out.y));
    hs.push_back(out.h);
    if (out.c) cs.push_back(out.c);
  }
  // [steps, directions, batch, H], or [batch, steps, directions, H]; states [directions, batch, H] or batch first.
  Value y = g.add(mil::stack{.values = ys, .axis = 1});
  if (k.batch_first) y = g.transpose(y, {2, 0, 1, 3});
  int axis = k.batch_first ? 1 : 0;
  POM_TRY(g.result(y, k.X.elem()));
  if (g.output_count() > 1) POM_TRY(g.result(g.add(mil::stack{.values = hs, .axis = axis}), k.X.elem()));
  if (g.output_count() > 2) POM_TRY(g.result(g.add(mil::stack{.values = cs, .axis = axis}), k.X.elem()));
  return {};
}

struct LSTM {
  ONNX_IN(X);
  ONNX_IN(W);
  ONNX_IN(R);
  ONNX_OPTIONAL(B);
  ONNX_OPTIONAL(sequence_lens);
  ONNX_OPTIONAL(initial_h);
  ONNX_OPTIONAL(initial_c);
  ONNX_OPTIONAL(P);
  ONNX_ATTR(activation_alpha, Floats);
  ONNX_ATTR(activation_beta, Floats);
  ONNX_ATTR(activations, Strings);
  ONNX_ATTR(clip, std::optional<float>);
  ONNX_ATTR(direction, std::string) = "forward";
  ONNX_ATTR(hidden_size, int);
  ONNX_ATTR(input_forget, bool) = false;
  ONNX_ATTR(layout, bool, .since = 14) = false;
  ONNX_ATTR(output_sequence, bool, .until = 7) = false;
  Status lower(Lowering& g) const {
    return lower_recurrent(g, {Layer::lstm, X, W, R, B, sequence_lens, initial_h, initial_c, P, activations,
                               activation_alpha, activation_beta, clip, direction, layout, false, input_forget});
  }
};
// Weights are quantised for good, what is multiplied with them anew: the inputs once, the state at every step.
struct DynamicQuantizeLSTM {
  ONNX_IN(X);
  ONNX_IN(W);
  ONNX_IN(R);
  ONNX_OPTIONAL(B);
  ONNX_OPTIONAL(sequence_lens);
  ONNX_OPTIONAL(initial_h);
  ONNX_OPTIONAL(initial_c);
  ONNX_OPTIONAL(P);
  ONNX_IN(W_scale);
  ONNX_IN(W_zero_point);
  ONNX_IN(R_scale);
  ONNX_IN(R_zero_point);
  ONNX_ATTR(activation_alpha, Floats);
  ONNX_ATTR(activation_beta, Floats);
  ONNX_ATTR(activations, Strings);
  ONNX_ATTR(clip, std::optional<float>);
  ONNX_ATTR(direction, std::string) = "forward";
  ONNX_ATTR(hidden_size, int) = 0;
  ONNX_ATTR(input_forget, bool) = false;
  Status lower(Lowering& g) const {
    Common k{Layer::lstm,
             X,
             W,
             R,
             B,
             sequence_lens,
             initial_h,
             initial_c,
             P,
             activations,
             activation_alpha,
             activation_beta,
             clip,
             direction,
             false,
             false,
             input_forget};
    k.quantised = true;
    k.w = decoded(g, W, W_scale, W_zero_point);
    k.r = decoded(g, R, R_scale, R_zero_point);
    if (!k.w || !k.r) return g.status();
    return lower_recurrent(g, k);
  }
  // [directions, inputs, gates], turned to what LSTM takes.
  static Value decoded(Lowering& g, const InputField& w, const InputField& scale, const InputField& zero) {
    auto lined_up = [&](Value p) {
      if (!p || p.rank() == 0) return p;
      return g.expand_dims(p, p.rank() == 1 ? Ints{1, 2} : Ints{1});
    };
    Value numbers = g.times(g.cast(g.minus(w, lined_up(zero)), DType::fp32), lined_up(scale));
    return g.as_constant(g.transpose(numbers, {0, 2, 1}));
  }
};
struct GRU {
  ONNX_IN(X);
  ONNX_IN(W);
  ONNX_IN(R);
  ONNX_OPTIONAL(B);
  ONNX_OPTIONAL(sequence_lens);
  ONNX_OPTIONAL(initial_h);
  ONNX_ATTR(activation_alpha, Floats);
  ONNX_ATTR(activation_beta, Floats);
  ONNX_ATTR(activations, Strings);
  ONNX_ATTR(clip, std::optional<float>);
  ONNX_ATTR(direction, std::string) = "forward";
  ONNX_ATTR(hidden_size, int);
  ONNX_ATTR(layout, bool, .since = 14) = false;
  ONNX_ATTR(linear_before_reset, bool, .since = 3) = false;
  Status lower(Lowering& g) const {
    return lower_recurrent(g, {Layer::gru,
                               X,
                               W,
                               R,
                               B,
                               sequence_lens,
                               initial_h,
                               {},
                               {},
                               activations,
                               activation_alpha,
                               activation_beta,
                               clip,
                               direction,
                               layout,
                               linear_before_reset});
  }
};
struct RNN {
  ONNX_IN(X);
  ONNX_IN(W);
  ONNX_IN(R);
  ONNX_OPTIONAL(B);
  ONNX_OPTIONAL(sequence_lens);
  ONNX_OPTIONAL(initial_h);
  ONNX_ATTR(activation_alpha, Floats);
  ONNX_ATTR(activation_beta, Floats);
  ONNX_ATTR(activations, Strings);
  ONNX_ATTR(clip, std::optional<float>);
  ONNX_ATTR(direction, std::string) = "forward";
  ONNX_ATTR(hidden_size, int);
  ONNX_ATTR(layout, bool, .since = 14) = false;
  Status lower(Lowering& g) const {
    return lower_recurrent(g, {Layer::rnn,
                               X,
                               W,
                               R,
                               B,
                               sequence_lens,
                               initial_h,
                               {},
                               {},
                               activations,
                               activation_alpha,
                               activation_beta,
                               clip,
                               direction,
                               layout});
  }
};

}  // namespace

Rules recurrent_chapter() {
  return {
      rule<DynamicQuantizeLSTM>("DynamicQuantizeLSTM", 1, 1 << 30, "com.microsoft"),
      rule<GRU>("GRU", 7),
      rule<LSTM>("LSTM", 7),
      rule<RNN>("RNN", 7),
  };
}

}  // namespace pomona::onnx
