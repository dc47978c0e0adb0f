// Recurrent layers and attention.
#include "ops/recurrent.h"
#include "kernel_case.h"
#include "ops/attention.h"

namespace pomona::cpu {
namespace {

using Text = std::string;

Case lstm(std::string name, mil::lstm op, bool both = false, std::int64_t batch = 2) {
  std::int64_t width = both ? 14 : 7;
  return {std::move(name),
          {{'F', {5, batch, 6}}, {'F', {batch, width}}, {'F', {batch, width}}},
          [=](Builder& g, const Values& v) {
            mil::lstm copy = op;
            copy.x = v[0];
            copy.initial_h = v[1];
            copy.initial_c = v[2];
            copy.weight_ih = random_constant(g, v[0], {28, 6}, 1);
            copy.weight_hh = random_constant(g, v[0], {28, 7}, 2);
            copy.bias = random_constant(g, v[0], {28}, 3);
            if (both) {
              copy.weight_ih_back = random_constant(g, v[0], {28, 6}, 4);
              copy.weight_hh_back = random_constant(g, v[0], {28, 7}, 5);
            }
            return g.add_all(copy);
          },
          1e-5};
}
Case gru(std::string name, mil::gru op, bool input_bias = false) {
  return {std::move(name),
          {{'F', {5, 2, 6}}, {'F', {2, 7}}},
          [=](Builder& g, const Values& v) {
            mil::gru copy = op;
            copy.x = v[0];
            copy.initial_h = v[1];
            copy.weight_ih = random_constant(g, v[0], {21, 6}, 1);
            copy.weight_hh = random_constant(g, v[0], {21, 7}, 2);
            copy.bias = random_constant(g, v[0], {21}, 3);
            if (input_bias) copy.input_bias = random_constant(g, v[0], {21}, 4);
            return g.add_all(copy);
          },
          1e-5};
}

std::vector<Case> cases() {
  std::vector<Case> all{
      lstm("lstm", {}),
      lstm("lstm_sequence", {.output_sequence = true}),
      lstm("lstm_one", {.output_sequence = true}, false, 1),
      lstm("lstm_reverse", {.direction = Text("reverse"), .output_sequence = true}),
      lstm("lstm_both_ways", {.direction = Text("bidirectional"), .output_sequence = true}, true),
      lstm("lstm_both_ways_last", {.direction = Text("bidirectional")}, true),
      lstm("lstm_activations", {.recurrent_activation = Text("hard_sigmoid"),
                                .cell_activation = Text("relu"),
                                .activation = Text("linear"),
                                .clip = 0.75}),
      gru("gru", {}),
      gru("gru_sequence", {.output_sequence = true}),
      gru("gru_reverse", {.direction = Text("reverse"), .output_sequence = true}),
      gru("gru_reset_after", {.output_sequence = true, .reset_after = true}, true),
  };
  auto add = [&](Case c) { all.push_back(std::move(c)); };
  add({"rnn",
       {{'F', {5, 2, 6}}, {'F', {2, 7}}},
       [](Builder& g, const Values& v) {
         return g.add_all(mil::rnn{.x = v[0],
                                   .initial_h = v[1],
                                   .weight_ih = random_constant(g, v[0], {7, 6}, 1),
                                   .weight_hh = random_constant(g, v[0], {7, 7}, 2),
                                   .output_sequence = true});
       },
       1e-5});
  auto attention = [&](std::string name, std::vector<std::pair<char, Sizes>> inputs) {
    add({std::move(name), std::move(inputs), [](Builder& g, const Values& v) {
           mil::scaled_dot_product_attention op{.query = v[0], .key = v[1], .value = v[2]};
           if (v.size() > 3) op.attn_mask = v[3];
           return Values{g.add(op)};
         }});
  };
  attention("attention", {{'F', {2, 3, 70, 16}}, {'F', {2, 3, 33, 16}}, {'F', {2, 3, 33, 20}}});
  attention("attention_mask",
            {{'F', {2, 3, 9, 16}}, {'F', {2, 3, 11, 16}}, {'F', {2, 3, 11, 20}}, {'F', {2, 1, 1, 11}}});
  attention("attention_square_mask", {{'F', {3, 9, 16}}, {'F', {3, 11, 16}}, {'F', {3, 11, 20}}, {'F', {9, 11}}});
  attention("attention_bool_mask", {{'F', {3, 9, 16}}, {'F', {3, 40, 16}}, {'F', {3, 40, 20}}, {'b', {3, 1, 40}}});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Recurrent, KernelCase, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace pomona::cpu
