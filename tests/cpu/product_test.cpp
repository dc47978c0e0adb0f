// Matrix products, convolutions, poolings and what follows them in one step.
#include "kernel_case.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/image.h"
#include "ops/linear.h"
#include "ops/pool.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::cpu {
namespace {

Case matmul(std::string name, Sizes a, Sizes b, bool tx = false, bool ty = false) {
  return {std::move(name), {{'F', std::move(a)}, {'F', std::move(b)}}, [tx, ty](Builder& g, const Values& x) {
            return Values{g.add(mil::matmul{.x = x[0], .y = x[1], .transpose_x = tx, .transpose_y = ty})};
          }};
}
Case linear(std::string name, Sizes x, std::int64_t in, std::int64_t out, bool bias) {
  return {std::move(name), {{'F', std::move(x)}}, [=](Builder& g, const Values& v) {
            mil::linear op{.x = v[0], .weight = random_constant(g, v[0], {out, in})};
            if (bias) op.bias = random_constant(g, v[0], {out}, 2);
            return Values{g.add(op)};
          }};
}
Case conv(std::string name, Sizes x, Sizes weight, mil::conv op = {}, bool bias = true) {
  return {std::move(name), {{'F', std::move(x)}}, [=](Builder& g, const Values& v) {
            mil::conv copy = op;
            copy.x = v[0];
            copy.weight = random_constant(g, v[0], weight, 3, 0.3);
            if (bias) copy.bias = random_constant(g, v[0], {weight[0]}, 2);
            return Values{g.add(copy)};
          }};
}
Case conv_transpose(std::string name, Sizes x, Sizes weight, mil::conv_transpose op = {}, bool bias = true) {
  return {std::move(name), {{'F', std::move(x)}}, [=](Builder& g, const Values& v) {
            mil::conv_transpose copy = op;
            copy.x = v[0];
            copy.weight = random_constant(g, v[0], weight, 3, 0.3);
            if (bias) copy.bias = random_constant(g, v[0], {weight[1] * op.groups}, 2);
            return Values{g.add(copy)};
          }};
}
template <class Op>
Case pool(std::string name, Sizes x, Op op) {
  return {std::move(name), {{'F', std::move(x)}}, [=](Builder& g, const Values& v) {
            Op copy = op;
            copy.x = v[0];
            return Values{g.add(copy)};
          }};
}

std::vector<Case> cases() {
  using Text = std::string;
  std::vector<Case> all{
      matmul("matmul", {5, 7}, {7, 9}),
      matmul("matmul_both_transposed", {7, 5}, {9, 7}, true, true),
      matmul("matmul_batches", {2, 3, 13, 32}, {2, 3, 33, 32}, false, true),
      matmul("matmul_broadcast_left", {13, 20}, {2, 3, 20, 35}),
      matmul("matmul_broadcast_right", {2, 3, 13, 20}, {20, 50}),
      matmul("matmul_broadcast_both", {2, 1, 5, 20}, {1, 3, 20, 17}),
      matmul("matmul_transposed_batches", {4, 20, 13}, {4, 20, 17}, true, false),
      matmul("matmul_vector_matrix", {20}, {3, 20, 17}),
      matmul("matmul_matrix_vector", {3, 17, 20}, {20}),
      matmul("matmul_vectors", {20}, {20}),
      matmul("matmul_one_row", {1, 64}, {64, 1000}),
      matmul("matmul_tall", {1001, 24}, {24, 5}),
      linear("linear", {2, 5, 20}, 20, 33, true),
      linear("linear_no_bias", {20}, 20, 31, false),
      linear("linear_deep", {130, 700}, 700, 40, true),
      conv("conv_1d", {2, 5, 40}, {7, 5, 3}, {.strides = {2}, .pad_type = Text("custom"), .pad = {1, 2}}),
      conv("conv_1d_dilated", {1, 16, 200}, {33, 16, 5}, {.pad_type = Text("same"), .dilations = {3}}),
      conv("conv_pointwise", {2, 19, 5, 7}, {40, 19, 1, 1}),
      conv("conv_pointwise_strided", {1, 19, 6, 7}, {12, 19, 1, 1}, {.strides = {2, 2}}),
      conv("conv_3x3", {1, 16, 11, 29}, {24, 16, 3, 3}, {.pad_type = Text("custom"), .pad = {1, 1, 1, 1}}, false),
      conv("conv_stem", {1, 3, 33, 130}, {16, 3, 3, 3}, {.strides = {2, 2}, .pad_type = Text("same")}),
      conv("conv_grouped", {2, 12, 9, 8}, {18, 4, 3, 3}, {.pad_type = Text("same"), .groups = 3}),
      conv("conv_multiplied", {1, 6, 9, 8}, {12, 1, 3, 3}, {.pad_type = Text("same"), .groups = 6}),
      conv("conv_depthwise", {2, 19, 9, 13}, {19, 1, 3, 3}, {.pad_type = Text("same_lower"), .groups = 19}),
      conv("conv_depthwise_5x5", {1, 48, 9, 13}, {48, 1, 5, 5},
           {.strides = {2, 1}, .pad_type = Text("same"), .groups = 48}),
      conv("conv_one_channel", {1, 1, 9, 13}, {1, 1, 3, 3}, {.pad_type = Text("same")}),
      conv("conv_to_one_position", {3, 8, 3, 4}, {5, 8, 3, 4}),
      conv("conv_3d", {1, 3, 5, 6, 7}, {4, 3, 2, 3, 3}, {.strides = {1, 2, 1}, .pad_type = Text("same")}),
      conv_transpose("transpose_2x2", {1, 24, 9, 8}, {24, 7, 2, 2}, {.strides = {2, 2}}),
      conv_transpose("transpose_to_one", {1, 24, 9, 8}, {24, 1, 2, 2}, {.strides = {2, 2}}),
      conv_transpose("transpose_overlapping", {2, 5, 6, 7}, {5, 4, 5, 3},
                     {.pad = {2, 1, 0, 1}, .pad_type = Text("custom"), .strides = {2, 3}}),
      conv_transpose("transpose_1d", {1, 8, 30}, {8, 6, 16},
                     {.pad = {4, 4}, .pad_type = Text("custom"), .strides = {8}}),
      conv_transpose("transpose_grouped", {1, 8, 6, 5}, {8, 3, 3, 3},
                     {.pad_type = Text("same"), .strides = {2, 2}, .groups = 4}),
      conv_transpose("transpose_dilated", {1, 4, 9}, {4, 3, 3}, {.strides = {2}, .dilations = {3}}, false),
      conv_transpose("transpose_gaps", {1, 4, 9}, {4, 3, 2}, {.strides = {5}}),
      pool("max_pool", {1, 5, 9, 8},
           mil::max_pool{.kernel_sizes = {3, 3}, .strides = {2, 2}, .pad_type = Text("same")}),
      pool("max_pool_1d", {2, 20, 33}, mil::max_pool{.kernel_sizes = {4}, .strides = {3}, .pad_type = Text("valid")}),
      pool("avg_pool", {2, 17, 9, 8},
           mil::avg_pool{.kernel_sizes = {3, 2}, .strides = {2, 2}, .pad_type = Text("same")}),
      pool("avg_pool_excluding", {2, 17, 9, 8},
           mil::avg_pool{.exclude_padding_from_average = true,
                         .kernel_sizes = {3, 3},
                         .pad_type = Text("custom"),
                         .pad = {1, 1, 1, 1}}),
      pool("avg_pool_ceil", {1, 3, 10, 10},
           mil::avg_pool{.kernel_sizes = {3, 3}, .strides = {2, 2}, .pad_type = Text("valid"), .ceil_mode = true}),
      pool("l2_pool", {1, 3, 10, 10},
           mil::l2_pool{.kernel_sizes = {3, 3}, .strides = {2, 2}, .pad_type = Text("valid")}),
  };
  auto add = [&](Case c) { all.push_back(std::move(c)); };
  add({"matmul_constant", {{'F', {2, 9, 20}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::matmul{.x = x[0], .y = random_constant(g, x[0], {20, 37})})};
       }});
  add({"einsum", {{'F', {2, 5, 3, 7}}, {'F', {2, 7, 3, 9}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::einsum{.values = Values{x[0], x[1]}, .equation = std::string("nchw,nwhu->nchu")})};
       }});
  add({"einsum_broadcast", {{'F', {5, 1, 7}}, {'F', {7, 3, 9}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::einsum{.values = Values{x[0], x[1]}, .equation = std::string("chw,whr->chr")})};
       }});
  add({"linear_gelu_residual", {{'F', {20, 40}}, {'F', {20, 30}}}, [](Builder& g, const Values& x) {
         Value y = g.add(mil::linear{.x = x[0],
                                     .weight = random_constant(g, x[0], {30, 40}, 1, 0.2),
                                     .bias = random_constant(g, x[0], {30}, 2)});
         return Values{g.add(mil::add{.x = x[1], .y = g.add(mil::gelu{.x = y})})};
       }});
  add({"scores_with_mask",
       {{'F', {2, 3, 9, 16}}, {'F', {2, 3, 9, 16}}, {'F', {2, 1, 1, 9}}},
       [](Builder& g, const Values& x) {
         Value s = g.add(mil::matmul{.x = x[0], .y = x[1], .transpose_y = true});
         s = g.add(mil::add{.x = g.add(mil::mul{.x = s, .y = g.number(s, 0.25)}), .y = x[2]});
         return Values{g.add(mil::softmax{.x = s})};
       }});
  // A transpose or reshape of a tensor with one channel moves nothing; what it gives has other sizes than its memory's
  // owner.
  add({"conv_of_aliases", {{'F', {1, 12, 15, 1}}}, [](Builder& g, const Values& v) {
         Value weight = random_constant(g, v[0], {4, 1, 3, 3}, 1, 0.3);
         Value t = g.add(mil::transpose{.x = v[0], .perm = {0, 3, 1, 2}});
         Value r = g.add(mil::reshape{.x = v[0], .shape = g.ints({1, 1, 9, 20})});
         return Values{g.add(mil::conv{.x = t, .weight = weight, .strides = {1, 3}, .pad_type = std::string("same")}),
                       g.add(mil::conv{.x = r, .weight = weight}), g.add(mil::relu{.x = t})};
       }});
  // Convolutions one after another, with everything between them that can take channels last.
  add({"conv_net", {{'F', {2, 3, 16, 20}}}, [](Builder& g, const Values& v) {
         Value x = v[0];
         auto weight = [&](Sizes sizes, unsigned seed) { return random_constant(g, x, std::move(sizes), seed, 0.3); };
         Value a = g.add(mil::relu{
             .x = g.add(mil::conv{.x = x, .weight = weight({8, 3, 3, 3}, 1), .pad_type = std::string("same")})});
         Value b = g.add(mil::conv{.x = a,
                                   .weight = weight({8, 1, 3, 3}, 2),
                                   .strides = {2, 2},
                                   .pad_type = std::string("same"),
                                   .groups = 8});
         Value c = g.add(mil::conv{.x = b, .weight = weight({8, 8, 1, 1}, 3)});
         Value d = g.add(mil::upsample_nearest_neighbor{.x = c, .scale_factor_height = 2, .scale_factor_width = 2});
         Value e = g.add(mil::concat{.values = Values{a, d, g.add(mil::add{.x = a, .y = d})}, .axis = 1});
         Value f = g.add(mil::mul{
             .x = e,
             .y = g.add(mil::sigmoid{
                 .x = g.add(mil::conv{
                     .x = g.add(mil::avg_pool{.x = e, .kernel_sizes = {16, 20}, .pad_type = std::string("valid")}),
                     .weight = weight({24, 24, 1, 1}, 4)})})});
         Values parts = g.add_all(mil::split{.x = f, .num_splits = 3, .axis = 1});
         Value p = g.add(mil::pad{.x = parts[1], .pad = g.ints({0, 0, 0, 0, 1, 2, 0, 3})});
         Value r = g.add(mil::resize_bilinear{.x = p, .target_size_height = 9, .target_size_width = 31});
         Value t = g.add(mil::transpose{.x = g.add(mil::add{.x = parts[0], .y = parts[2]}), .perm = {0, 2, 3, 1}});
         return Values{f, t, r, c, g.add(mil::reshape{.x = c, .shape = g.ints({2, -1})})};
       }});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Products, KernelCase, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace pomona::cpu
