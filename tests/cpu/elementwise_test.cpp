// Elementwise ops alone, broadcast and in chains.
#include "kernel_case.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/norm.h"
#include "ops/quantization.h"

namespace pomona::cpu {
namespace {

template <class Op>
Case unary(std::string name, Op op, double tolerance = 1e-6, bool positive = false) {
  return {std::move(name),
          {{'F', {3, 5, 67}}},
          [op](Builder& g, const Values& x) {
            Op copy = op;
            copy.x = x[0];
            return Values{g.add(copy)};
          },
          tolerance,
          !positive,
          iOS18,
          positive};
}
template <class Op>
Case binary(std::string name, Sizes a, Sizes b, char kind = 'F') {
  return {std::move(name),
          {{kind, std::move(a)}, {kind, std::move(b)}},
          [](Builder& g, const Values& x) { return Values{g.add(Op{.x = x[0], .y = x[1]})}; },
          1e-6,
          kind == 'F'};
}

std::vector<Case> cases() {
  std::vector<Case> all{
      unary("relu", mil::relu{}),
      unary("relu6", mil::relu6{}),
      unary("sigmoid", mil::sigmoid{}),
      unary("silu", mil::silu{}),
      unary("softplus", mil::softplus{}),
      unary("softsign", mil::softsign{}),
      unary("clamped_relu", mil::clamped_relu{.alpha = 0.25, .beta = 2}),
      unary("linear_activation", mil::linear_activation{.alpha = 0.25, .beta = 2}),
      unary("scaled_tanh", mil::scaled_tanh{.alpha = 1.5, .beta = 0.5}),
      unary("sigmoid_hard", mil::sigmoid_hard{.alpha = 0.25, .beta = 0.5}),
      unary("elu", mil::elu{.alpha = 1.25}),
      unary("leaky_relu", mil::leaky_relu{.alpha = 0.125}),
      unary("thresholded_relu", mil::thresholded_relu{.alpha = 0.5}),
      unary("gelu", mil::gelu{}),
      unary("gelu_tanh", mil::gelu{.mode = std::string("TANH_APPROXIMATION")}),
      unary("gelu_sigmoid", mil::gelu{.mode = std::string("SIGMOID_APPROXIMATION")}),
      unary("acos", mil::acos{}),
      unary("atanh", mil::atanh{}),
      unary("ceil", mil::ceil{}),
      unary("cos", mil::cos{}),
      unary("erf", mil::erf{}),
      unary("exp", mil::exp{}),
      unary("floor", mil::floor{}),
      unary("round", mil::round{}),
      unary("sqrt", mil::sqrt{}),
      unary("tanh", mil::tanh{}),
      unary("abs", mil::abs{}),
      unary("exp2", mil::exp2{}),
      unary("sign", mil::sign{}),
      unary("square", mil::square{}),
      unary("clip", mil::clip{.alpha = -1, .beta = 2}),
      unary("inverse", mil::inverse{}, 1e-6, true),
      unary("log", mil::log{}),
      unary("rsqrt", mil::rsqrt{}, 1e-6, true),
      unary("threshold", mil::threshold{.alpha = 0.5}),
      unary("cast_bool", mil::cast{.dtype = std::string("bool")}),
      unary("cast_fp16", mil::cast{.dtype = std::string("fp16")}),
      unary("cast_fp32", mil::cast{.dtype = std::string("fp32")}),
      unary("cast_int32", mil::cast{.dtype = std::string("int32")}, 0, true),
      unary("cast_int8", mil::cast{.dtype = std::string("int8")}, 0, true),
      unary("cast_uint16", mil::cast{.dtype = std::string("uint16")}, 0, true),
      binary<mil::add>("add", {3, 70}, {3, 70}),
      binary<mil::add>("add_scalar", {3, 70}, {1}),
      binary<mil::add>("add_scalar_first", {}, {3, 70}),
      binary<mil::add>("add_both_rank0", {}, {}),
      binary<mil::sub>("sub_row", {9, 70}, {70}),
      binary<mil::sub>("sub_long_row", {3, 1300}, {1300}),
      binary<mil::mul>("mul_channels", {2, 7, 5, 9}, {1, 7, 1, 1}),
      binary<mil::mul>("mul_outer", {40, 1}, {1, 50}),
      binary<mil::real_div>("div_middle", {2, 1, 3, 33}, {2, 4, 1, 33}),
      binary<mil::maximum>("maximum", {3, 70}, {70}),
      binary<mil::minimum>("minimum", {3, 70}, {3, 1}),
      binary<mil::floor_div>("floor_div", {3, 7}, {3, 1}),
      binary<mil::equal>("equal", {6, 1}, {6, 40}),
      binary<mil::greater>("greater", {6, 40}, {40}),
      binary<mil::less_equal>("less_equal", {6, 40}, {1}),
      binary<mil::add>("int_add", {6, 40}, {40}, 'i'),
      binary<mil::mul>("int_mul", {6, 1}, {40}, 'i'),
      binary<mil::real_div>("int_div", {6, 40}, {6, 40}, 'i'),
      binary<mil::floor_div>("int_floor_div", {6, 40}, {6, 40}, 'i'),
      binary<mil::mod>("int_mod", {6, 40}, {1}, 'i'),
      binary<mil::pow>("int_pow", {6, 40}, {6, 40}, 'n'),
      binary<mil::maximum>("int_max", {6, 40}, {6, 40}, 'i'),
      binary<mil::less>("int_less", {6, 40}, {6, 40}, 'i'),
      binary<mil::greater_equal>("int_greater_equal", {6, 40}, {6, 1}, 'i'),
      binary<mil::logical_and>("logical_and", {6, 40}, {6, 40}, 'b'),
      binary<mil::logical_or>("logical_or", {6, 40}, {6, 1}, 'b'),
      binary<mil::logical_xor>("logical_xor", {6, 40}, {40}, 'b'),
  };
  auto add = [&](Case c) { all.push_back(std::move(c)); };
  add({"select",
       {{'b', {6, 1}}, {'F', {6, 50}}, {'F', {1}}},
       [](Builder& g, const Values& x) { return Values{g.add(mil::select{.cond = x[0], .a = x[1], .b = x[2]})}; },
       0,
       true});
  add({"select_ints", {{'b', {7}}, {'i', {6, 7}}, {'i', {7}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::select{.cond = x[0], .a = x[1], .b = x[2]})};
       }});
  add({"casts_of_ints", {{'i', {5, 31}}}, [](Builder& g, const Values& x) {
         Values all;
         for (const char* to : {"fp32", "bool", "int8", "uint8", "int16", "uint16"})
           all.push_back(g.add(mil::cast{.x = x[0], .dtype = std::string(to)}));
         all.push_back(g.add(mil::cast{.x = all[2], .dtype = std::string("int32")}));
         all.push_back(g.add(mil::logical_not{.x = all[1]}));
         all.push_back(g.add(mil::abs{.x = x[0]}));
         all.push_back(g.add(mil::threshold{.x = x[0], .alpha = 2}));
         return all;
       }});
  auto quantised = [&](const char* name, const char* dtype, std::optional<int> axis, double zero) {
    Sizes sizes{2, 5, 3, 67};
    Sizes parameters = axis ? Sizes{sizes[std::size_t(*axis)]} : Sizes{};
    auto build = [=](Builder& g, const Values& x) {
      std::vector<double> scales, zeros;
      for (std::int64_t i = 0; i < element_count(parameters); ++i)
        scales.push_back(0.011 + 0.003 * double(i)), zeros.push_back(zero - double(i));
      DType codes = *dtype_named(dtype);
      Value scale = g.constant(Tensor::from_numbers(x[0].dtype(), parameters, scales)), zero_point;
      if (zero != 0) zero_point = g.constant(Tensor::from_numbers(codes, parameters, zeros));
      Value q = g.add(mil::quantize{
          .input = x[0], .zero_point = zero_point, .scale = scale, .axis = axis, .output_dtype = std::string(dtype)});
      return Values{q, g.add(mil::dequantize{.input = q, .zero_point = zero_point, .scale = scale, .axis = axis})};
    };
    add({name, {{'F', sizes}}, build, 0, true});
  };
  quantised("quantize_int8", "int8", {}, 0);
  quantised("quantize_uint8_zero", "uint8", {}, 117);
  quantised("quantize_channels", "int8", 1, 9);
  quantised("quantize_rows", "uint8", 2, 130);
  add({"prelu",
       {{'F', {2, 3, 5, 7}}},
       [](Builder& g, const Values& x) {
         return Values{g.add(mil::prelu{.x = x[0], .alpha = random_constant(g, x[0], {3})})};
       },
       1e-6,
       true});
  add({"softplus_parametric", {{'F', {2, 3, 5, 7}}}, [](Builder& g, const Values& x) {
         Value a = random_constant(g, x[0], {3}), b = random_constant(g, x[0], {3}, 2);
         return Values{g.add(mil::softplus_parametric{.x = x[0], .alpha = a, .beta = b})};
       }});
  add({"batch_norm", {{'F', {2, 6, 11}}}, [](Builder& g, const Values& x) {
         Value variance = g.constant(Tensor::from_numbers(x[0].dtype(), {6}, {1, 2, 0.5, 0.25, 3, 1}));
         return Values{g.add(mil::batch_norm{.x = x[0],
                                             .mean = random_constant(g, x[0], {6}),
                                             .variance = variance,
                                             .gamma = random_constant(g, x[0], {6}, 2),
                                             .beta = random_constant(g, x[0], {6}, 3)})};
       }});
  add({"hard_swish", {{'F', {2, 6, 40}}}, [](Builder& g, const Values& x) {
         Value inner = g.add(mil::clip{.x = g.add(mil::add{.x = x[0], .y = g.number(x[0], 3)}), .alpha = 0, .beta = 6});
         return Values{g.add(mil::real_div{.x = g.add(mil::mul{.x = x[0], .y = inner}), .y = g.number(x[0], 6)})};
       }});
  add({"diamond_with_an_outside_user",
       {{'F', {4, 33}}, {'F', {33}}},
       [](Builder& g, const Values& x) {
         Value a = g.add(mil::mul{.x = x[0], .y = x[1]});
         Value b = g.add(mil::tanh{.x = a}), c = g.add(mil::sigmoid{.x = a});
         Value d = g.add(mil::add{.x = b, .y = c});
         Value e = g.add(mil::greater{.x = d, .y = g.number(x[0], 0.5)});
         return Values{g.add(mil::select{.cond = e, .a = d, .b = a}), b,
                       g.add(mil::sub{.x = g.number(x[0], 1), .y = d})};
       },
       2e-6});
  add({"long_chain",
       {{'F', {4, 33}}},
       [](Builder& g, const Values& x) {
         Value v = x[0];
         for (int i = 0; i < 60; ++i) v = g.add(mil::add{.x = g.add(mil::mul{.x = v, .y = x[0]}), .y = x[0]});
         return Values{g.add(mil::tanh{.x = v})};
       },
       1e-3,
       false,
       iOS18,
       false,
       false});
  add({"empty", {{'F', {0, 33}}}, [](Builder& g, const Values& x) { return Values{g.add(mil::tanh{.x = x[0]})}; }});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Elementwise, KernelCase, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace pomona::cpu
