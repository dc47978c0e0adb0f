// Recurrent layers: the inputs' products for the whole sequence at once, then step by step.
#include "ops/recurrent.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "base/threads.h"
#include "cpu/gemm.h"
#include "cpu/kernels/kernels.h"
#include "cpu/vector_program_kernels.h"

namespace pomona::cpu {
namespace {

using Packed = std::shared_ptr<const PackedMatrix>;

// Rows [first, first + count) of a weight [rows, columns], to be multiplied by from the left.
Packed packed_rows(const InputField& weight, std::size_t first, std::size_t count, PlanContext& at) {
  auto make = [&]() -> std::shared_ptr<const void> {
    Tensor floats = weight.tensor().converted(DType::fp32);
    std::size_t columns = std::size_t(floats.sizes()[1]);
    Matrix b{floats.view<float>().data() + first * columns, columns, count, 1, std::ptrdiff_t(columns)};
    return std::make_shared<const PackedMatrix>(pack_matrix(b));
  };
  std::string key = fmt::format("recurrent {} {} {}", static_cast<const void*>(&Value(weight).info()), first, count);
  return std::static_pointer_cast<const PackedMatrix>(at.shared(key, make));
}

std::vector<float> floats_of(const InputField& field, std::size_t count) {
  std::vector<float> values(count, 0.0f);
  for (std::size_t i = 0; field && i < count; ++i) values[i] = float(field.tensor().number(i));
  return values;
}

Instruction activation_named(std::string name) {
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  if (name == "sigmoid") return {Opcode::sigmoid};
  if (name == "hard_sigmoid" || name == "sigmoid_hard")
    return {.op = Opcode::hard_sigmoid, .alpha = 0.2f, .beta = 0.5f};
  if (name == "relu") return {.op = Opcode::at_least, .alpha = 0};
  if (name == "linear") return {Opcode::copy};
  return {Opcode::tanh};
}
void activate(const Instruction& activation, float* values, std::size_t count) {
  run_instruction(activation, {values}, {}, {}, values, count);
}

void multiply_rows(const float* a, const PackedMatrix& b, const float* bias, float* c, std::size_t rows) {
  multiply({a, std::ptrdiff_t(b.depth), b.view(), bias, c, std::ptrdiff_t(b.columns), rows}, 0, panel_count(b.columns));
}

// What the layers share. The state of one direction is h, and for lstm c behind it, each [batch, hidden].
struct Recurrence {
  std::size_t steps, batch, input, hidden, gates, width;  // width: of a result's rows, both directions
  std::size_t side = 0;
  bool backwards = false, whole = false, rounds = false, turned = false;  // turned: results in the input's time
  Packed from_input, from_state;
  std::vector<float> bias;  // added to the inputs' products
  SlotNumber x;
  std::vector<SlotNumber> initial, results;  // of results, y first

  Recurrence(const InputField& x_field, const InputField& weight_ih, const InputField& weight_hh,
             std::size_t gate_count, PlanContext& at)
      : gates(gate_count), rounds(at.rounds()), x(at.source(x_field)), results(at.results) {
    Sizes sizes = known_sizes(x_field.shape());
    steps = std::size_t(sizes[0]);
    batch = std::size_t(sizes[1]);
    input = std::size_t(sizes[2]);
    hidden = width = std::size_t(known_sizes(weight_hh.shape())[1]);
    from_input = packed_rows(weight_ih, 0, gates * hidden, at);
    from_state = packed_rows(weight_hh, 0, gates * hidden, at);
  }
  bool empty() const { return steps * batch * input * hidden == 0; }
  std::size_t state_elements() const { return batch * hidden; }
};

// Runs one direction: step(gates, state) advances the whole batch, given the inputs' share of the gates.
template <class Step>
void run_direction(const Recurrence& r, const Frame& f, Step step) {
  std::size_t row = r.gates * r.hidden, states = r.initial.size();
  std::vector<float> products(r.steps * r.batch * row), state(states * r.state_elements());
  parallel_for(r.steps * r.batch, 24, [&](std::size_t first, std::size_t last) {
    multiply_rows(f.read<float>(r.x) + first * r.input, *r.from_input, r.bias.data(), &products[first * row],
                  last - first);
  });
  auto copy_out = [&](const float* from, float* to) {
    for (std::size_t b = 0; b < r.batch; ++b) {
      float* out = to + b * r.width + r.side * r.hidden;
      std::copy_n(from + b * r.hidden, r.hidden, out);
      if (r.rounds) round_to_half({out, r.hidden});
    }
  };
  for (std::size_t s = 0; s < states; ++s)
    for (std::size_t b = 0; b < r.batch; ++b)
      std::copy_n(f.read<float>(r.initial[s]) + b * r.width + r.side * r.hidden, r.hidden,
                  &state[s * r.state_elements() + b * r.hidden]);
  for (std::size_t t = 0; t < r.steps; ++t) {
    std::size_t from = r.backwards ? r.steps - 1 - t : t, to = r.turned ? r.steps - 1 - t : t;
    step(&products[from * r.batch * row], state.data());
    if (r.whole) copy_out(state.data(), f.write<float>(r.results[0]) + to * r.batch * r.width);
  }
  if (!r.whole) copy_out(state.data(), f.write<float>(r.results[0]));
  for (std::size_t s = 0; s < states; ++s) copy_out(&state[s * r.state_elements()], f.write<float>(r.results[1 + s]));
}

// gates += h * U.
void add_state(const Recurrence& r, const PackedMatrix& from_state, const float* h, std::vector<float>& room,
               float* gates) {
  room.resize(r.batch * from_state.columns);
  multiply_rows(h, from_state, nullptr, room.data(), r.batch);
  for (std::size_t i = 0; i < room.size(); ++i) gates[i] += room[i];
}

struct LstmActivations {
  Instruction gate, cell, squash;
  float clip;
};
void lstm_step(const Recurrence& r, const LstmActivations& a, float* gates, float* state, std::vector<float>& room) {
  add_state(r, *r.from_state, state, room, gates);
  std::size_t n = r.hidden;
  for (std::size_t b = 0; b < r.batch; ++b) {
    float *g = gates + b * 4 * n, *h = state + b * n, *c = state + r.state_elements() + b * n;
    activate(a.gate, g, 3 * n);
    activate(a.cell, g + 3 * n, n);
    for (std::size_t k = 0; k < n; ++k) c[k] = std::clamp(g[n + k] * c[k] + g[k] * g[3 * n + k], -a.clip, a.clip);
    std::copy_n(c, n, h);
    activate(a.squash, h, n);
    for (std::size_t k = 0; k < n; ++k) h[k] *= g[2 * n + k];
  }
}

Kernel plan_lstm(const mil::lstm& op, PlanContext& at) {
  if (op.peephole || op.peephole_back) return {};
  bool both = *op.direction == "bidirectional";
  LstmActivations a{activation_named(*op.recurrent_activation), activation_named(*op.cell_activation),
                    activation_named(*op.activation), op.clip->has_value() ? float(**op.clip) : INFINITY};
  std::vector<Recurrence> sides;
  for (std::size_t side = 0; side < (both ? 2 : 1); ++side) {
    Recurrence& r = side ? sides.emplace_back(op.x, op.weight_ih_back, op.weight_hh_back, 4, at)
                         : sides.emplace_back(op.x, op.weight_ih, op.weight_hh, 4, at);
    r.bias = floats_of(side ? static_cast<const InputField&>(op.bias_back) : op.bias, 4 * r.hidden);
    r.side = side;
    r.width = r.hidden * (both ? 2 : 1);
    r.backwards = side == 1 || *op.direction == "reverse";
    r.turned = side == 1;
    r.whole = op.output_sequence;
    r.initial = {at.source(op.initial_h), at.source(op.initial_c)};
    if (r.empty()) return {};
  }
  auto run = [sides, a](const Frame& f) {
    std::vector<float> room;
    for (const Recurrence& r : sides)
      run_direction(r, f, [&](float* gates, float* state) { lstm_step(r, a, gates, state, room); });
  };
  return {.run = std::move(run), .name = "lstm"};
}

// Gates r, o, z; the share of the state in o is multiplied by r, before or after its product.
struct GruPlan {
  Instruction gate, squash;
  bool after;
  Packed from_state_o;
  std::vector<float> bias_o;
};
void gru_step(const Recurrence& r, const GruPlan& p, float* gates, float* h, std::vector<float>& room) {
  std::size_t n = r.hidden;
  room.resize(r.batch * 3 * n);
  multiply_rows(h, *r.from_state, nullptr, room.data(), r.batch);
  std::vector<float> reset(p.after ? 0 : n), inside(n);
  for (std::size_t b = 0; b < r.batch; ++b) {
    float *g = gates + b * 3 * n, *u = room.data() + b * 3 * n, *state = h + b * n;
    for (std::size_t k = 0; k < n; ++k) {
      g[k] += u[k];
      g[2 * n + k] += u[2 * n + k];
    }
    activate(p.gate, g, n);
    activate(p.gate, g + 2 * n, n);
    if (p.after) {
      for (std::size_t k = 0; k < n; ++k) inside[k] = g[k] * (u[n + k] + p.bias_o[k]);
    } else {
      for (std::size_t k = 0; k < n; ++k) reset[k] = g[k] * state[k];
      multiply_rows(reset.data(), *p.from_state_o, p.bias_o.data(), inside.data(), 1);
    }
    for (std::size_t k = 0; k < n; ++k) g[n + k] += inside[k];
    activate(p.squash, g + n, n);
    for (std::size_t k = 0; k < n; ++k) state[k] = (1 - g[2 * n + k]) * g[n + k] + g[2 * n + k] * state[k];
  }
}

Kernel plan_gru(const mil::gru& op, PlanContext& at) {
  Recurrence r(op.x, op.weight_ih, op.weight_hh, 3, at);
  if (r.empty()) return {};
  std::size_t n = r.hidden;
  std::vector<float> bias = floats_of(op.bias, 3 * n);
  r.bias = floats_of(op.input_bias, 3 * n);
  for (std::size_t k = 0; k < 3 * n; ++k)
    if (k < n || k >= 2 * n) r.bias[k] += bias[k];
  r.backwards = *op.direction == "reverse";
  r.whole = op.output_sequence;
  r.initial = {at.source(op.initial_h)};
  GruPlan plan{activation_named(*op.recurrent_activation), activation_named(*op.activation),
               op.reset_after->value_or(false), packed_rows(op.weight_hh, n, n, at),
               std::vector<float>(bias.begin() + std::ptrdiff_t(n), bias.begin() + std::ptrdiff_t(2 * n))};
  auto run = [r, plan](const Frame& f) {
    std::vector<float> room;
    run_direction(r, f, [&](float* gates, float* state) { gru_step(r, plan, gates, state, room); });
  };
  return {.run = std::move(run), .name = "gru"};
}

Kernel plan_rnn(const mil::rnn& op, PlanContext& at) {
  Recurrence r(op.x, op.weight_ih, op.weight_hh, 1, at);
  if (r.empty()) return {};
  r.bias = floats_of(op.bias, r.hidden);
  r.backwards = *op.direction == "reverse";
  r.whole = op.output_sequence;
  r.initial = {at.source(op.initial_h)};
  auto run = [r, squash = activation_named(*op.activation)](const Frame& f) {
    std::vector<float> room;
    run_direction(r, f, [&](float* gates, float* h) {
      add_state(r, *r.from_state, h, room, gates);
      activate(squash, gates, r.state_elements());
      std::copy_n(gates, r.state_elements(), h);
    });
  };
  return {.run = std::move(run), .name = "rnn"};
}

}  // namespace

std::vector<KernelRule> recurrent_kernels() {
  return {kernel<mil::lstm, plan_lstm>(), kernel<mil::gru, plan_gru>(), kernel<mil::rnn, plan_rnn>()};
}

}  // namespace pomona::cpu
