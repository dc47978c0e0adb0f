// Recurrent ops and attention. Expected values are ONNX Runtime's (recurrent) and NumPy's (attention).
#include "ops/recurrent.h"
#include "graph.h"
#include "ops/attention.h"

namespace pomona {
namespace {

using enum DType;

std::initializer_list<double> sequence = {-0.83, -0.53, 0.6,  0.16,  -0.81, -0.13,
                                          -0.04, -0.68, 0.47, -0.77, -0.22, 0.03};
constexpr double close = 2e-6;

mil::lstm both_ways(Graph& t) {
  return {
      .x = t.input(fp32, {3, 2, 2}, sequence),
      .initial_h = t.input(fp32, {2, 4}, {-0.96, 0.06, -0.59, 0.48, -0.22, -0.24, 0.82, -0.21}),
      .initial_c = t.input(fp32, {2, 4}, {-0.3, -0.3, -0.04, -0.81, 0.09, 0.84, 0.13, 0.49}),
      .weight_ih =
          t.weight(fp32, {8, 2},
                   {-0.14, 0.17, 0.48, 0.91, -0.43, 0.3, 0.39, -0.41, -1, 0.95, -0.4, -0.37, 0.78, 0.17, -0.06, 0.55}),
      .weight_hh = t.weight(
          fp32, {8, 2},
          {-0.14, 0.52, 0.76, -0.8, 0.7, -0.21, -0.04, -0.71, 0.4, -0.42, 0.74, -0.45, 0.12, -0.2, 0.23, -0.61}),
      .bias = t.weight(fp32, {8}, {-0.83, -0.61, -0.57, 0.72, -0.75, -0.41, -0.01, 0.7}),
      .peephole = t.weight(fp32, {6}, {0.18, 0.34, 0.34, 0.05, 0.11, -0.6}),
      .weight_ih_back = t.weight(
          fp32, {8, 2},
          {-0.94, 0.41, -0.25, -0.82, 0.32, 0.86, -0.59, 0.26, -0.4, 0.48, 0.44, -0.56, 0.66, 0.32, 0.37, 0.64}),
      .weight_hh_back =
          t.weight(fp32, {8, 2},
                   {-0.64, 0.49, 0.5, 0.13, 0.84, -0.59, 0.7, -0.66, 0.93, 0.25, 0.21, 0.94, 0.57, 0.58, -0.89, -0.26}),
      .bias_back = t.weight(fp32, {8}, {0.93, 0.42, -0.57, 0.09, 0.41, -0.9, 0.36, -0.26}),
      .peephole_back = t.weight(fp32, {6}, {-0.01, -0.75, -0.04, 0.07, 0.55, -0.21}),
      .direction = "bidirectional",
  };
}

TEST(Recurrent, LstmBothWaysAlignsTheBackwardHalfWithTheInput) {
  Graph t;
  mil::lstm op = both_ways(t);
  op.output_sequence = true;
  Tensors y = t.run(t.g.add_all(op));
  expect_numbers(y[0],
                 {-0.08795679,  -0.06535272, -0.2031462,  -0.2089159, 0.03668122,    0.155051,  0.2990176, -0.09838627,
                  -0.1379433,   0.0145896,   -0.08853085, -0.1338346, -0.0006828055, 0.2233085, 0.1696742, -0.2309261,
                  -0.001948327, 0.02747278,  0.09013346,  -0.1701634, -0.02631247,   0.1773152, 0.3033054, -0.02951778},
                 close);
  expect_numbers(
      y[1], {-0.001948327, 0.02747278, -0.2031462, -0.2089159, -0.02631247, 0.1773152, 0.2990176, -0.09838627}, close);
  expect_numbers(y[2], {-0.01655825, 0.07130989, -0.3970173, -0.932158, -0.07457576, 0.6735582, 0.497095, -0.3376792},
                 close);
}
TEST(Recurrent, LstmWithoutSequenceReturnsTheFinalStates) {
  Graph t;
  Tensors y = t.run(t.g.add_all(both_ways(t)));
  EXPECT_EQ(y[0].sizes(), (Sizes{1, 2, 4}));
  EXPECT_EQ(y[0].numbers(), y[1].numbers());
}
TEST(Recurrent, LstmClipsTheCellState) {
  Graph t;
  mil::lstm op = both_ways(t);
  op.clip = 0.25;
  for (double c : t.run(t.g.add_all(op))[2].numbers()) EXPECT_LE(std::fabs(c), 0.25);
}
TEST(Recurrent, LstmNamesWhatIsMissing) {
  Graph t;
  mil::lstm op = both_ways(t);
  op.weight_hh_back = {};
  EXPECT_EQ(t.error(t.g.add_all(op)), "direction is bidirectional, but weight_hh_back is missing");
}
TEST(Recurrent, LstmRefusesWeightsOfOtherShapes) {
  Graph t;
  mil::lstm op = both_ways(t);
  op.bias = Value(op.peephole);
  EXPECT_EQ(t.error(t.g.add_all(op)), "bias has shape [6], not [8]");
}
TEST(Recurrent, UnknownSizesStayExpressions) {
  Graph t;
  mil::lstm op = both_ways(t);
  op.x = t.main.body.add_input("s", tensor_type(fp32, {Dim::named("steps"), 2, 2}));
  op.output_sequence = true;
  EXPECT_EQ(to_string(t.g.add(op).shape()), "[steps, 2, 4]");
}

mil::gru gru_of(Graph& t) {
  return {
      .x = t.input(fp32, {3, 2, 2}, sequence),
      .initial_h = t.input(fp32, {2, 2}, {1, -0.71, 0.07, 0.76}),
      .weight_ih =
          t.weight(fp32, {6, 2}, {0.89, 0.68, 0.49, 0.63, 0.64, -0.49, -0.04, -0.31, -0.48, 0.14, -0.36, 0.24}),
      .weight_hh =
          t.weight(fp32, {6, 2}, {0.16, -0.79, -0.12, -0.22, 0.41, -0.82, -0.66, 0.03, -0.19, 0.33, -0.33, -0.61}),
      .bias = t.weight(fp32, {6}, {0.86, -0.51, -0.71, -0.44, -0.32, -0.55}),
      .output_sequence = true,
      .input_bias = t.weight(fp32, {6}, {0.07, 0.87, -0.75, -0.17, 0.34, 0.77}),
  };
}
TEST(Recurrent, GruResetsBeforeTheProductUnlessAskedOtherwise) {
  Graph t;
  mil::gru op = gru_of(t);
  Value before = t.g.add(op);
  op.reset_after = true;
  Value after = t.g.add(op);
  Tensors y = t.run({before, after});
  expect_numbers(y[0],
                 {0.04185188, -0.7008647, -0.422447, -0.07229537, -0.4043153, -0.6462322, -0.632131, -0.1395541,
                  -0.4885947, -0.4626418, -0.7697069, -0.2024494},
                 close);
  expect_numbers(y[1],
                 {0.1226872, -0.5969741, -0.4089387, -0.003694355, -0.3294595, -0.5208925, -0.5748033, -0.02043779,
                  -0.3557459, -0.3343129, -0.7225873, -0.0891709},
                 close);
}
TEST(Recurrent, ReverseLeavesRowsInProcessingOrder) {
  Graph t;
  mil::gru op = gru_of(t);
  op.direction = "reverse";
  Tensors y = t.run(t.g.add_all(op));
  expect_numbers(y[0],
                 {0.234526, -0.7240896, -0.3508328, 0.04414761, -0.3090014, -0.6788236, -0.5969816, -0.09386005,
                  -0.5846746, -0.5683841, -0.7404718, -0.2012063},
                 close);
  expect_numbers(y[1], {-0.5846746, -0.5683841, -0.7404718, -0.2012063}, close);
}
TEST(Recurrent, Rnn) {
  Graph t;
  mil::rnn op{.x = t.input(fp32, {3, 2, 2}, sequence),
              .initial_h = t.input(fp32, {2, 2}, {1, -0.71, 0.07, 0.76}),
              .weight_ih = t.weight(fp32, {2, 2}, {-0.89, 0.18, -0.65, 0.54}),
              .weight_hh = t.weight(fp32, {2, 2}, {0.88, 0.08, -0.98, -0.87}),
              .bias = t.weight(fp32, {2}, {-0.17, 0.69}),
              .output_sequence = true,
              .activation = "relu"};
  expect_numbers(t.run(t.g.add_all(op))[0],
                 {1.2965, 0.581, 0, 0, 1.7149, 0, 0, 0.3488, 0.7822117, 0, 0.05910399, 0.5457441}, close);
}
TEST(Recurrent, NoStepsReturnTheInitialState) {
  Graph t;
  mil::rnn op{.x = t.input(fp32, {0, 1, 1}, {}),
              .initial_h = t.input(fp32, {1, 1}, {0.5}),
              .weight_ih = t.weight(fp32, {1, 1}, {1}),
              .weight_hh = t.weight(fp32, {1, 1}, {1})};
  Tensors y = t.run(t.g.add_all(op));
  expect_numbers(y[0], {0.5});
  expect_numbers(y[1], {0.5});
}

struct Attention : Graph {
  Value q = input(fp32, {1, 2, 3}, {-0.63, -0.49, -0.71, 0.55, -0.06, -0.59});
  Value k = input(fp32, {1, 4, 3}, {0.41, 0.83, -1.64, -0.26, -0.98, -0.17, -1.29, 0.02, -0.04, -0.3, -1.05, -0.4});
  Value v = input(fp32, {1, 4, 2}, {-1.09, -1.36, 0.22, -1.11, 1.17, 0.72, -2, 0.27});
};
TEST(Attention, Plain) {
  Attention t;
  Values y = t.g.add_all(mil::scaled_dot_product_attention{.query = t.q, .key = t.k, .value = t.v});
  expect_numbers(t.run(y)[0], {-0.439683442, -0.302783956, -0.694244155, -0.633551444}, 1e-6);
}
TEST(Attention, BoolMaskSelectsKeys) {
  Attention t;
  Value mask = t.input(boolean, {2, 4}, {1, 1, 0, 1, 0, 1, 1, 0});
  Values y = t.g.add_all(mil::scaled_dot_product_attention{.query = t.q, .key = t.k, .value = t.v, .attn_mask = mask});
  expect_numbers(t.run(y)[0], {-0.998161047, -0.657637538, 0.599879713, -0.37823171}, 1e-6);
}
TEST(Attention, FloatMaskIsAddedAndBroadcast) {
  Attention t;
  Value mask = t.input(fp32, {1, 1, 4}, {0.5, -1, 0, 2});
  Values y = t.g.add_all(mil::scaled_dot_product_attention{.query = t.q, .key = t.k, .value = t.v, .attn_mask = mask});
  expect_numbers(t.run(y)[0], {-1.51909083, 0.0610214904, -1.52041194, -0.172792834}, 1e-6);
}
TEST(Attention, MaskMustCoverAllKeys) {
  Attention t;
  Value mask = t.input(fp32, {1, 2, 1}, {0, 0});
  Values y = t.g.add_all(mil::scaled_dot_product_attention{.query = t.q, .key = t.k, .value = t.v, .attn_mask = mask});
  EXPECT_EQ(t.error(y), "attn_mask covers 1 keys, but there are 4");
}

}  // namespace
}  // namespace pomona
