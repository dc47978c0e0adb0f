// MIL recurrent layers: lstm, gru, rnn. x is [sequence, batch, input]; H is the size of the hidden state.
//
//   Values out = g.add_all(mil::lstm{.x = x, .initial_h = h, .initial_c = c, .weight_ih = w, .weight_hh = u});
//   out[0]: every step or only the last, out[1]: last hidden state, out[2]: last cell state
//
// Where the format leaves a choice, these are the readings taken: `reverse` processes the sequence from its end and
// leaves the outputs in processing order; `bidirectional` aligns the backward half with the input's time and returns
// both final states when output_sequence is false; gru without reset_after multiplies the state by r before the
// recurrent matrix product. Sequences of different lengths in one batch are not part of these ops.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct lstm {
  static constexpr auto doc =
      "i, f = sigma(W x + U h + b + p*c); z = g(W x + U h + b); c' = clip(f*c + i*z); o = sigma(.. + p*c'); "
      "h' = o*act(c'). The rows of the weights are the gates i, f, o, z";
  static constexpr TypeVar T{'T', dtypes::fp32 | since(iOS17, dtypes::fp16)};
  POM_IN(x, T);
  POM_IN(initial_h, T);
  POM_IN(initial_c, T);
  POM_WEIGHT(weight_ih, T);
  POM_WEIGHT(weight_hh, T);
  POM_OPTIONAL_WEIGHT(bias, T);
  POM_OPTIONAL_WEIGHT(peephole, T);
  POM_OPTIONAL_WEIGHT(weight_ih_back, T);
  POM_OPTIONAL_WEIGHT(weight_hh_back, T);
  POM_OPTIONAL_WEIGHT(bias_back, T);
  POM_OPTIONAL_WEIGHT(peephole_back, T);
  POM_ATTR(direction, std::string) = "forward";  // forward, reverse, bidirectional
  POM_ATTR(output_sequence, bool) = false;
  POM_ATTR(recurrent_activation, std::string) = "sigmoid";
  POM_ATTR(cell_activation, std::string) = "tanh";
  POM_ATTR(activation, std::string) = "tanh";
  POM_ATTR(clip, std::optional<double>, .var = T);  // absent: the cell is not clipped
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct gru {
  static constexpr auto doc =
      "r, z = sigma(W x + U h + b); o = act(W x + U (r*h) + b), with reset_after act(W x + input_bias + r*(U h + b)); "
      "h' = (1 - z)*o + z*h. The rows of the weights are the gates r, o, z";
  static constexpr TypeVar T{'T', dtypes::fp32 | since(iOS17, dtypes::fp16)};
  POM_IN(x, T);
  POM_IN(initial_h, T);
  POM_WEIGHT(weight_ih, T);
  POM_WEIGHT(weight_hh, T);
  POM_OPTIONAL_WEIGHT(bias, T);
  POM_ATTR(direction, std::string) = "forward";  // forward, reverse
  POM_ATTR(output_sequence, bool) = false;
  POM_ATTR(recurrent_activation, std::string) = "sigmoid";
  POM_ATTR(activation, std::string) = "tanh";
  POM_ATTR(reset_after, std::optional<bool>, .since = iOS18);  // absent: false
  POM_OPTIONAL_WEIGHT(input_bias, T, .since = iOS18);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct rnn {
  static constexpr auto doc = "h' = act(W x + U h + b)";
  static constexpr TypeVar T{'T', dtypes::fp32 | since(iOS17, dtypes::fp16)};
  POM_IN(x, T);
  POM_IN(initial_h, T);
  POM_WEIGHT(weight_ih, T);
  POM_WEIGHT(weight_hh, T);
  POM_OPTIONAL_WEIGHT(bias, T);
  POM_ATTR(direction, std::string) = "forward";  // forward, reverse
  POM_ATTR(output_sequence, bool) = false;
  POM_ATTR(activation, std::string) = "tanh";
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
