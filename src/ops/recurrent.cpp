#include "ops/recurrent.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "ops/axes.h"
#include "ops/catalogue.h"

namespace pomona::mil {
namespace {

using Function = double (*)(double);

double sigma(double v) { return 1 / (1 + std::exp(-v)); }
double tanh_of(double v) { return std::tanh(v); }
double hard_sigmoid(double v) { return v != v ? v : std::clamp(0.2 * v + 0.5, 0.0, 1.0); }
double relu_of(double v) { return v > 0 ? v : v == v ? 0 : v; }
double itself(double v) { return v; }

// Any case; lstm says hard_sigmoid where rnn says sigmoid_hard. scaled_tanh has no scales here and acts as tanh.
Result<Function> activation_named(std::string_view spelled) {
  static constexpr struct {
    std::string_view name;
    Function function;
  } known[] = {{"tanh", tanh_of},
               {"scaled_tanh", tanh_of},
               {"sigmoid", sigma},
               {"hard_sigmoid", hard_sigmoid},
               {"sigmoid_hard", hard_sigmoid},
               {"relu", relu_of},
               {"linear", itself}};
  std::string lower(spelled);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  for (const auto& [name, function] : known)
    if (name == lower) return function;
  return fail("activation '{}' is not tanh, scaled_tanh, sigmoid, hard_sigmoid, relu or linear", spelled);
}

struct Layout {  // of a recurrent op
  Dim steps, batch, input, hidden;
};

Status check_shape(const InputField& field, const char* field_name, const Shape& wanted) {
  bool fits = field.rank() == wanted.size();
  for (std::size_t d = 0; fits && d < wanted.size(); ++d) fits = may_equal(field.shape()[d], wanted[d]);
  POM_REQUIRE(fits, "{} has shape {}, not {}", field_name, to_string(field.shape()), to_string(wanted));
  return {};
}

// A row for each sequence of the batch. Rows beyond them are not looked at: converters give some, and Core ML takes it.
Status check_initial(const InputField& field, const char* field_name, const Shape& wanted) {
  Shape rows = field.shape();
  if (rows.size() == 2 && rows[0].known() && wanted[0].known() && rows[0].value() > wanted[0].value())
    rows[0] = wanted[0];
  bool fits = rows.size() == 2 && may_equal(rows[0], wanted[0]) && may_equal(rows[1], wanted[1]);
  POM_REQUIRE(fits, "{} has shape {}, not {}", field_name, to_string(field.shape()), to_string(wanted));
  return {};
}

Status check_optional(const InputField& field, const char* field_name, Dim size) {
  return field ? check_shape(field, field_name, {size}) : Status();
}

Result<Layout> layout_of(const InputField& x, const InputField& weight_ih, const InputField& weight_hh, int gates) {
  POM_REQUIRE(x.rank() == 3, "x has rank {}, not 3 (sequence, batch, input)", x.rank());
  POM_REQUIRE(weight_hh.rank() == 2, "weight_hh has rank {}, not 2", weight_hh.rank());
  Layout layout{x.shape()[0], x.shape()[1], x.shape()[2], weight_hh.shape()[1]};
  POM_TRY(check_shape(weight_hh, "weight_hh", {gates * layout.hidden, layout.hidden}));
  POM_TRY(check_shape(weight_ih, "weight_ih", {gates * layout.hidden, layout.input}));
  return layout;
}

// The whole sequence (or its last step) and the states at its end.
Types results_of(const InputField& x, const Layout& layout, Dim width, bool output_sequence, int states) {
  Types types{tensor_type(x.dtype(), {output_sequence ? layout.steps : Dim(1), layout.batch, width})};
  for (int i = 0; i < states; ++i) types.push_back(tensor_type(x.dtype(), {layout.batch, width}));
  return types;
}

Status check_direction(const std::string& direction, bool both_ways) {
  POM_REQUIRE(direction == "forward" || direction == "reverse" || (both_ways && direction == "bidirectional"),
              "direction is '{}', not forward{} reverse{}", direction, both_ways ? "," : " or",
              both_ways ? " or bidirectional" : "");
  return {};
}

// Weights of one direction. pre = bias + W x + U h, row by row.
struct Weights {
  std::size_t input, hidden;
  std::vector<double> w, u, bias;

  Weights(const InputField& weight_ih, const InputField& weight_hh, const InputField& b)
      : input(std::size_t(weight_ih.sizes()[1])),
        hidden(std::size_t(weight_hh.sizes()[1])),
        w(weight_ih.tensor().numbers()),
        u(weight_hh.tensor().numbers()),
        bias(b ? b.tensor().numbers() : std::vector<double>(std::size_t(weight_ih.sizes()[0]), 0.0)) {}

  double from_input(std::size_t row, const double* x) const { return dot(&w[row * input], x, input); }
  double from_state(std::size_t row, const double* h) const { return dot(&u[row * hidden], h, hidden); }
  double before(std::size_t row, const double* x, const double* h) const {
    return bias[row] + from_input(row, x) + from_state(row, h);
  }
  static double dot(const double* a, const double* b, std::size_t n) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
    return sum;
  }
};

// One direction over the sequence: state[b] holds `states` vectors of size H for element b of the batch, h first;
// step(x, state) advances one of them. Calls out(step, b, h) after each step, steps counted in processing order.
template <class Step, class Out>
void run_direction(const Sizes& x_sizes, const std::vector<double>& x, bool backwards,
                   std::vector<std::vector<double>>& state, Step step, Out out) {
  std::size_t steps = std::size_t(x_sizes[0]), batch = std::size_t(x_sizes[1]), input = std::size_t(x_sizes[2]);
  parallel_for(batch, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t b = begin; b < end; ++b)
      for (std::size_t t = 0; t < steps; ++t) {
        std::size_t from = backwards ? steps - 1 - t : t;
        step(x.data() + (from * batch + b) * input, state[b].data());
        out(t, b, state[b].data());
      }
  });
}

// State vectors per element of the batch, from parts [offset, offset + hidden) of each initial state.
std::vector<std::vector<double>> initial_states(std::initializer_list<const InputField*> initial, std::size_t offset,
                                                std::size_t hidden) {
  std::vector<std::vector<double>> states;
  for (const InputField* field : initial) {
    std::vector<double> values = field->tensor().numbers();
    std::size_t batch = std::size_t(field->sizes()[0]), width = std::size_t(field->sizes()[1]);
    states.resize(batch);
    for (std::size_t b = 0; b < batch; ++b) {
      auto first = values.begin() + std::ptrdiff_t(b * width + offset);
      states[b].insert(states[b].end(), first, first + std::ptrdiff_t(hidden));
    }
  }
  return states;
}

// Collects the results of all directions: y and, for each state, its last value; directions lie side by side.
struct Collected {
  std::size_t steps, batch, hidden, width;
  bool whole;
  std::vector<std::vector<double>> values;  // y, then each state

  Collected(const Sizes& x, std::size_t h, std::size_t directions, bool output_sequence, std::size_t states)
      : steps(std::size_t(x[0])),
        batch(std::size_t(x[1])),
        hidden(h),
        width(h * directions),
        whole(output_sequence),
        values(1 + states, std::vector<double>(batch * width)) {
    if (whole) values[0].assign(steps * batch * width, 0.0);
  }
  void put(std::size_t row, std::size_t b, std::size_t direction, const double* h) {
    if (whole) std::copy_n(h, hidden, &values[0][(row * batch + b) * width + direction * hidden]);
  }
  void finish(std::size_t direction, const std::vector<std::vector<double>>& state) {
    for (std::size_t b = 0; b < batch && hidden > 0; ++b) {
      std::size_t to = b * width + direction * hidden;
      for (std::size_t s = 1; s < values.size(); ++s)
        std::copy_n(state[b].data() + (s - 1) * hidden, hidden, values[s].data() + to);
      if (!whole) std::copy_n(state[b].data(), hidden, values[0].data() + to);
    }
  }
  Tensors tensors(const Types& types) const {
    Tensors result;
    for (std::size_t i = 0; i < values.size(); ++i)
      result.push_back(Tensor::from_numbers(types[i].dtype, known_sizes(types[i].shape), values[i]));
    return result;
  }
};

}  // namespace

Result<Types> lstm::infer(const At&) const {
  POM_TRY(check_direction(direction, true));
  for (const auto* name : {&*recurrent_activation, &*cell_activation, &*activation}) POM_TRY(activation_named(*name));
  Layout layout = POM_TRY(layout_of(x, weight_ih, weight_hh, 4));
  bool both = *direction == "bidirectional";
  Dim hidden = layout.hidden, width = both ? 2 * hidden : hidden;
  POM_TRY(check_optional(bias, "bias", 4 * hidden));
  POM_TRY(check_optional(peephole, "peephole", 3 * hidden));
  if (both) {
    POM_REQUIRE(weight_ih_back && weight_hh_back, "direction is bidirectional, but {} is missing",
                weight_ih_back ? "weight_hh_back" : "weight_ih_back");
    POM_TRY(check_shape(weight_ih_back, "weight_ih_back", {4 * hidden, layout.input}));
    POM_TRY(check_shape(weight_hh_back, "weight_hh_back", {4 * hidden, hidden}));
    POM_TRY(check_optional(bias_back, "bias_back", 4 * hidden));
    POM_TRY(check_optional(peephole_back, "peephole_back", 3 * hidden));
  }
  POM_TRY(check_initial(initial_h, "initial_h", {layout.batch, width}));
  POM_TRY(check_initial(initial_c, "initial_c", {layout.batch, width}));
  return results_of(x, layout, width, output_sequence, 2);
}
Result<Tensors> lstm::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  Function gate = POM_TRY(activation_named(*recurrent_activation)), cell = POM_TRY(activation_named(*cell_activation)),
           squash = POM_TRY(activation_named(*activation));
  std::vector<double> input = x.tensor().numbers();
  bool both = *direction == "bidirectional";
  Collected result(x.sizes(), std::size_t(weight_hh.sizes()[1]), both ? 2 : 1, output_sequence, 2);
  for (std::size_t side = 0; side < (both ? 2 : 1); ++side) {
    Weights weights = side ? Weights(weight_ih_back, weight_hh_back, bias_back) : Weights(weight_ih, weight_hh, bias);
    const InputField& holes = side ? static_cast<const InputField&>(peephole_back) : peephole;
    std::size_t n = weights.hidden;
    std::vector<double> p = holes ? holes.tensor().numbers() : std::vector<double>(3 * n, 0.0);
    auto state = initial_states({&initial_h, &initial_c}, side * n, n);
    auto step = [&](const double* v, double* hc) {
      double* c = hc + n;
      std::vector<double> h(n);
      for (std::size_t k = 0; k < n; ++k) {
        double i = gate(weights.before(k, v, hc) + p[k] * c[k]);
        double f = gate(weights.before(n + k, v, hc) + p[n + k] * c[k]);
        double z = cell(weights.before(3 * n + k, v, hc));
        c[k] = f * c[k] + i * z;
        // The format's text says that the cell gate is clipped; the state is what its tests clip.
        if (*clip) c[k] = std::max(std::min(c[k], **clip), -**clip);
        h[k] = gate(weights.before(2 * n + k, v, hc) + p[2 * n + k] * c[k]) * squash(c[k]);
      }
      std::copy(h.begin(), h.end(), hc);
    };
    run_direction(x.sizes(), input, side == 1 || *direction == "reverse", state, step,
                  [&](std::size_t t, std::size_t b, const double* h) {
                    result.put(side ? result.steps - 1 - t : t, b, side, h);
                  });
    result.finish(side, state);
  }
  return result.tensors(types);
}

Result<Types> gru::infer(const At&) const {
  POM_TRY(check_direction(direction, false));
  POM_TRY(activation_named(*recurrent_activation));
  POM_TRY(activation_named(*activation));
  Layout layout = POM_TRY(layout_of(x, weight_ih, weight_hh, 3));
  POM_TRY(check_optional(bias, "bias", 3 * layout.hidden));
  POM_TRY(check_optional(input_bias, "input_bias", 3 * layout.hidden));
  POM_TRY(check_initial(initial_h, "initial_h", {layout.batch, layout.hidden}));
  return results_of(x, layout, layout.hidden, output_sequence, 1);
}
Result<Tensors> gru::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  Function gate = POM_TRY(activation_named(*recurrent_activation)), squash = POM_TRY(activation_named(*activation));
  Weights weights(weight_ih, weight_hh, bias);
  std::size_t n = weights.hidden;
  std::vector<double> extra = input_bias ? input_bias.tensor().numbers() : std::vector<double>(3 * n, 0.0);
  bool after = reset_after->value_or(false);
  auto state = initial_states({&initial_h}, 0, n);
  auto step = [&](const double* v, double* h) {
    std::vector<double> r(n), reset(n), next(n);
    for (std::size_t k = 0; k < n; ++k) {
      r[k] = gate(weights.before(k, v, h) + extra[k]);
      reset[k] = r[k] * h[k];
    }
    for (std::size_t k = 0; k < n; ++k) {
      double z = gate(weights.before(2 * n + k, v, h) + extra[2 * n + k]);
      double outside = weights.from_input(n + k, v) + extra[n + k];
      double inside = after ? r[k] * (weights.from_state(n + k, h) + weights.bias[n + k])
                            : weights.from_state(n + k, reset.data()) + weights.bias[n + k];
      next[k] = (1 - z) * squash(outside + inside) + z * h[k];
    }
    std::copy(next.begin(), next.end(), h);
  };
  Collected result(x.sizes(), n, 1, output_sequence, 1);
  run_direction(x.sizes(), x.tensor().numbers(), *direction == "reverse", state, step,
                [&](std::size_t t, std::size_t b, const double* h) { result.put(t, b, 0, h); });
  result.finish(0, state);
  return result.tensors(types);
}

Result<Types> rnn::infer(const At&) const {
  POM_TRY(check_direction(direction, false));
  POM_TRY(activation_named(*activation));
  Layout layout = POM_TRY(layout_of(x, weight_ih, weight_hh, 1));
  POM_TRY(check_optional(bias, "bias", layout.hidden));
  POM_TRY(check_initial(initial_h, "initial_h", {layout.batch, layout.hidden}));
  return results_of(x, layout, layout.hidden, output_sequence, 1);
}
Result<Tensors> rnn::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  Function squash = POM_TRY(activation_named(*activation));
  Weights weights(weight_ih, weight_hh, bias);
  auto state = initial_states({&initial_h}, 0, weights.hidden);
  auto step = [&](const double* v, double* h) {
    std::vector<double> next(weights.hidden);
    for (std::size_t k = 0; k < next.size(); ++k) next[k] = squash(weights.before(k, v, h));
    std::copy(next.begin(), next.end(), h);
  };
  Collected result(x.sizes(), weights.hidden, 1, output_sequence, 1);
  run_direction(x.sizes(), x.tensor().numbers(), *direction == "reverse", state, step,
                [&](std::size_t t, std::size_t b, const double* h) { result.put(t, b, 0, h); });
  result.finish(0, state);
  return result.tensors(types);
}

std::vector<const OpDef*> recurrent_chapter() { return op_list<lstm, gru, rnn>(); }

}  // namespace pomona::mil
