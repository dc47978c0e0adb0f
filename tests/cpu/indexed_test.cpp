// Weights of indices into tables of floats, multiplied as they are, against the reference: decoded, then multiplied.
#include <random>

#include "base/half.h"
#include "kernel_case.h"
#include "ops/constexpr.h"
#include "ops/conv.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"

namespace pomona::cpu {
namespace {

struct Tables {
  DType indices = DType::uint4;
  std::int64_t row_groups = 1, depth_groups = 1;
  std::int64_t scales = 0;  // on top: one for so many groups of rows
};

Tensor halves(Sizes sizes, unsigned seed, DType dtype) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  for (double& v : numbers) v = half_to_float(double_to_half(normal(random) * 0.1));
  return Tensor::from_numbers(dtype, std::move(sizes), numbers);
}
Tensor random_indices(DType dtype, Sizes sizes) {
  std::mt19937 random(5);
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  for (double& v : numbers) v = random() % (1u << info(dtype).bits);
  return Tensor::from_numbers(dtype, std::move(sizes), numbers);
}

Value weight(Builder& g, Value like, const Tables& t, const Sizes& sizes, std::size_t row_axis = 0) {
  Sizes groups(sizes.size(), 1);
  groups[row_axis] = t.row_groups;
  groups[1 - row_axis] = t.depth_groups;
  groups.insert(groups.end(), {std::int64_t(1) << info(t.indices).bits, 1});
  Value w = g.add(mil::constexpr_lut_to_dense{.indices = g.constant(random_indices(t.indices, sizes)),
                                              .lut = g.constant(halves(groups, 6, like.dtype()))});
  if (!t.scales) return w;
  Sizes scales(sizes.size(), 1);
  scales[row_axis] = t.scales;
  return g.add(mil::constexpr_blockwise_shift_scale{.data = w, .scale = g.constant(halves(scales, 7, like.dtype()))});
}

std::vector<Case> cases() {
  std::vector<Case> all;
  auto linear = [&](std::string name, std::int64_t vectors, std::int64_t depth, std::int64_t rows, Tables t) {
    all.push_back(
        {std::move(name), {{'F', {vectors, depth}}}, [=](Builder& g, const Values& v) {
           return Values{g.add(mil::linear{
               .x = v[0], .weight = weight(g, v[0], t, {rows, depth}), .bias = random_constant(g, v[0], {rows}, 2)})};
         }});
  };
  for (std::int64_t vectors : {1, 2, 5, 8, 13, 97, 200})
    linear("vectors_" + std::to_string(vectors), vectors, 320, 80, {});
  for (std::int64_t depth : {576, 333, 301}) linear("depth_" + std::to_string(depth), 5, depth, 75, {});
  linear("per_group_of_rows", 3, 320, 96, {.row_groups = 6});
  linear("per_odd_group_of_rows", 1, 320, 75, {.row_groups = 25});
  linear("per_row", 9, 352, 75, {.row_groups = 75});
  linear("per_block", 1, 320, 75, {.row_groups = 75, .depth_groups = 10});
  linear("per_block_of_64", 13, 320, 64, {.row_groups = 4, .depth_groups = 5});
  linear("per_narrow_block", 3, 320, 64, {.depth_groups = 20});
  for (DType indices : {DType::uint1, DType::uint2, DType::uint3})
    linear(std::string(name(indices)), 6, 320, 75, {.indices = indices, .row_groups = 5});
  linear("six_bits", 6, 320, 75, {.indices = DType::uint6});
  linear("with_a_scale_per_row", 6, 320, 72, {.row_groups = 6, .scales = 72});
  linear("with_one_scale", 6, 320, 72, {.row_groups = 6, .scales = 1});
  for (bool transposed : {false, true})
    all.push_back({transposed ? "matmul_transposed" : "matmul", {{'F', {2, 3, 320}}}, [=](Builder& g, const Values& v) {
                     Tables t{.row_groups = 14};
                     Value w = transposed ? weight(g, v[0], t, {70, 320}) : weight(g, v[0], t, {320, 70}, 1);
                     return Values{g.add(mil::matmul{.x = v[0], .y = w, .transpose_y = transposed})};
                   }});
  for (std::int64_t positions : {1, 9})
    all.push_back(
        {"convolution_" + std::to_string(positions), {{'F', {1, 320, 1, positions}}}, [](Builder& g, const Values& v) {
           Value w = weight(g, v[0], {.row_groups = 9}, {72, 320, 1, 1});
           return Values{g.add(mil::conv{.x = v[0], .weight = w, .bias = random_constant(g, v[0], {72}, 2)})};
         }});
  all.push_back({"embedding", {{'n', {2, 5}}, {'F', {1, 1}}}, [](Builder& g, const Values& v) {
                   Value w = weight(g, v[1], {.row_groups = 20, .depth_groups = 3}, {300, 96});
                   return Values{g.add(mil::gather{.x = w, .indices = v[0], .axis = 0, .validate_indices = false})};
                 }});
  all.push_back({"as_before_iOS18",
                 {{'F', {4, 320}}},
                 [](Builder& g, const Values& v) {
                   std::vector<double> bytes(64 * 320 / 2);
                   std::mt19937 random(3);
                   for (double& b : bytes) b = random() % 256;
                   Sizes count{std::int64_t(bytes.size())};
                   Value indices = g.constant(Tensor::from_numbers(DType::uint8, count, bytes));
                   Value w = g.add(mil::constexpr_lut_to_dense_iOS16{
                       .indices = indices, .lut = g.constant(halves({16}, 6, v[0].dtype())), .shape = Ints{64, 320}});
                   return Values{g.add(mil::linear{.x = v[0], .weight = w})};
                 },
                 2e-6,
                 false,
                 iOS16});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Indexed, KernelCase, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace pomona::cpu
