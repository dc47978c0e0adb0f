// Ops that move or collect elements: layout, joining, gathering, reductions, norms, resizing.
#include "kernel_case.h"
#include "ops/activation.h"
#include "ops/gather_scatter.h"
#include "ops/image.h"
#include "ops/norm.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::cpu {
namespace {

using Text = std::string;

template <class Op>
Case on(std::string name, Sizes sizes, Op op, char kind = 'F', bool specials = false) {
  return {std::move(name),
          {{kind, std::move(sizes)}},
          [op](Builder& g, const Values& x) {
            Op copy = op;
            copy.x = x[0];
            return g.add_all(copy);
          },
          2e-6,
          specials};
}
Case slice(std::string name, Sizes sizes, Ints begin, Ints end, mil::slice_by_index op, char kind = 'F') {
  return {std::move(name), {{kind, std::move(sizes)}}, [=](Builder& g, const Values& x) {
            mil::slice_by_index copy = op;
            copy.x = x[0];
            copy.begin = g.ints(begin);
            copy.end = g.ints(end);
            return Values{g.add(copy)};
          }};
}
Case pad(std::string name, Sizes sizes, Ints amounts, std::string mode) {
  return {std::move(name), {{'F', std::move(sizes)}}, [=](Builder& g, const Values& x) {
            return Values{g.add(mil::pad{.x = x[0], .pad = g.ints(amounts), .mode = mode, .constant_val = 1.5})};
          }};
}
template <class Op>
void add_reductions(std::vector<Case>& all, const std::string& name) {
  all.push_back(on(name + "_last", {3, 5, 67}, Op{.axes = {-1}}));
  all.push_back(on(name + "_first", {30, 5, 7}, Op{.axes = {0}, .keep_dims = true}));
  all.push_back(on(name + "_outer_and_inner", {3, 5, 7, 9}, Op{.axes = {0, 3}}));
  all.push_back(on(name + "_spatial", {2, 5, 17, 19}, Op{.axes = {2, 3}, .keep_dims = true}));
  all.push_back(on(name + "_all", {300, 5}, Op{}));
}

std::vector<Case> cases() {
  std::vector<Case> all{
      on("transpose", {2, 3, 4, 5}, mil::transpose{.perm = {0, 2, 1, 3}}),
      on("transpose_matrix", {37, 70}, mil::transpose{.perm = {1, 0}}),
      on("transpose_batches", {3, 37, 70}, mil::transpose{.perm = {0, 2, 1}}),
      on("transpose_turned", {2, 3, 4, 5}, mil::transpose{.perm = {3, 2, 1, 0}}),
      on("transpose_keys", {1, 9, 4, 8}, mil::transpose{.perm = {0, 2, 3, 1}}),
      on("transpose_ones", {1, 7, 1, 5}, mil::transpose{.perm = {2, 1, 0, 3}}),
      on("transpose_bool", {13, 7}, mil::transpose{.perm = {1, 0}}, 'b'),
      on("expand_dims", {3, 4}, mil::expand_dims{.axes = {0, 2}}),
      on("squeeze", {1, 3, 1, 4}, mil::squeeze{}),
      on("reverse", {3, 4, 5}, mil::reverse{.axes = {0, 2}}),
      on("reverse_all", {3, 4}, mil::reverse{}, 'i'),
      on("sliding_windows", {2, 11, 3}, mil::sliding_windows{.axis = 1, .size = 4, .stride = 2}),
      on("depth_to_space", {2, 12, 3, 5}, mil::depth_to_space{.block_size = 2}),
      on("space_to_depth", {2, 3, 6, 4}, mil::space_to_depth{.block_size = 2}),
      on("pixel_shuffle", {2, 12, 3, 5}, mil::pixel_shuffle{.upscale_factor = 2}),
      on("pixel_unshuffle", {2, 3, 6, 4}, mil::pixel_unshuffle{.downscale_factor = 2}),
      slice("slice", {5, 6, 7}, {1, 0, 2}, {4, 6, 7}, {}),
      slice("slice_strided", {5, 6, 70}, {4, 1, 69}, {0, 5, 3}, {.stride = {-1, 2, -3}}),
      slice("slice_masks", {5, 6, 7}, {1, -2, 2}, {4, 0, -1}, {.begin_mask = {1, 0, 0}, .end_mask = {0, 1, 0}}),
      slice("slice_squeezed", {5, 6, 7}, {1, -1, 0}, {2, 0, 7}, {.squeeze_mask = {0, 1, 0}}, 'i'),
      slice("slice_all_squeezed", {5, 6}, {1, -1}, {2, 0}, {.squeeze_mask = {1, 1}}),
      pad("pad_constant", {2, 3, 4}, {0, 0, 1, 2, 3, 0}, "constant"),
      pad("pad_last", {2, 3, 4}, {2, 2}, "constant"),
      pad("pad_reflect", {2, 3, 5, 6}, {1, 2, 3, 0}, "reflect"),
      pad("pad_replicate", {2, 3, 5, 6}, {1, 2, 3, 0}, "replicate"),
      on("softmax_last", {3, 5, 67}, mil::softmax{}),
      on("softmax_middle", {3, 5, 67}, mil::softmax{.axis = 1}),
      on("softmax_short", {300, 3}, mil::softmax{}),
      on("instance_norm", {2, 3, 40}, mil::instance_norm{}),
      on("l2_norm", {2, 3, 4, 5}, mil::l2_norm{}),
      on("layer_norm_all", {2, 3, 4}, mil::layer_norm{}),
      on("layer_norm_two", {2, 3, 40}, mil::layer_norm{.axes = {1, 2}}),
      on("argmax", {3, 5, 67}, mil::reduce_argmax{}, 'F', true),
      on("argmin_middle", {3, 5, 67}, mil::reduce_argmin{.axis = 1, .keep_dims = true}, 'F', true),
      on("resize_bilinear", {2, 3, 5, 6}, mil::resize_bilinear{.target_size_height = 9, .target_size_width = 4}),
      on("resize_bilinear_unaligned", {2, 3, 5, 6},
         mil::resize_bilinear{
             .target_size_height = 9, .target_size_width = 4, .sampling_mode = Text("UNALIGN_CORNERS")}),
      on("resize_nearest", {2, 3, 5, 6}, mil::resize_nearest_neighbor{.target_size_height = 9, .target_size_width = 4}),
      on("upsample_nearest", {2, 3, 5, 6},
         mil::upsample_nearest_neighbor{.scale_factor_height = 2, .scale_factor_width = 3}),
      on("upsample_bilinear", {2, 3, 5, 6}, mil::upsample_bilinear{.scale_factor_height = 2, .scale_factor_width = 3}),
      on("upsample_bilinear_halves", {2, 3, 5, 6},
         mil::upsample_bilinear{.scale_factor_height = 2, .scale_factor_width = 3, .align_corners = false}),
      on("split", {2, 9, 5}, mil::split{.num_splits = 3, .axis = 1}),
      on("split_sizes", {2, 9, 5}, mil::split{.split_sizes = {2, 3, 4}, .axis = 1}, 'i'),
  };
  auto add = [&](Case c) { all.push_back(std::move(c)); };
  add_reductions<mil::reduce_sum>(all, "sum");
  add_reductions<mil::reduce_mean>(all, "mean");
  add_reductions<mil::reduce_max>(all, "max");
  add_reductions<mil::reduce_l1_norm>(all, "l1");
  add_reductions<mil::reduce_l2_norm>(all, "l2");
  all.push_back(on("min_of_specials", {3, 5, 67}, mil::reduce_min{.axes = {1}}, 'F', true));
  all.push_back(on("max_of_specials", {3, 5, 67}, mil::reduce_max{.axes = {2}}, 'F', true));
  all.push_back(on("prod", {3, 5, 6}, mil::reduce_prod{.axes = {1}}));
  all.push_back(on("sum_square", {3, 5, 67}, mil::reduce_sum_square{.axes = {1, 2}}));
  add({"layer_norm", {{'F', {3, 5, 70}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::layer_norm{.x = x[0],
                                             .axes = {-1},
                                             .gamma = random_constant(g, x[0], {70}),
                                             .beta = random_constant(g, x[0], {70}, 2)})};
       }});
  add({"reshape", {{'F', {3, 4, 5}}}, [](Builder& g, const Values& x) {
         Value y = g.add(mil::reshape{.x = x[0], .shape = g.ints({-1, 10})});
         return Values{y, g.add(mil::relu{.x = y}), x[0]};
       }});
  add({"concat", {{'F', {2, 3, 4}}, {'F', {2, 1, 4}}, {'F', {2, 5, 4}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::concat{.values = x, .axis = 1})};
       }});
  add({"concat_interleaved", {{'F', {2, 3, 4}}, {'F', {2, 3, 4}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::concat{.values = x, .axis = 1, .interleave = true})};
       }});
  add({"concat_bools", {{'b', {3}}, {'b', {5}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::concat{.values = x, .axis = 0})};
       }});
  add({"stack", {{'F', {2, 3}}, {'F', {2, 3}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::stack{.values = x, .axis = 1}), g.add(mil::stack{.values = x, .axis = -1})};
       }});
  add({"tile", {{'F', {2, 3}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::tile{.x = x[0], .reps = g.ints({2, 3})})};
       }});
  add({"slice_by_size", {{'F', {5, 6}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::slice_by_size{.x = x[0], .begin = g.ints({1, -3}), .size = g.ints({3, -1})})};
       }});
  add({"slice_update", {{'F', {5, 6}}, {'F', {2, 3}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::slice_update{
             .x = x[0], .update = x[1], .begin = g.ints({1, 0}), .end = g.ints({3, 6}), .stride = {1, 2}})};
       }});
  add({"gather", {{'F', {4, 7}}, {'n', {3, 2}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::gather{.x = x[0], .indices = x[1]}),
                       g.add(mil::gather{.x = x[0], .indices = x[1], .axis = 1})};
       }});
  add({"gather_constant_table", {{'n', {9}}}, [](Builder& g, const Values& x) {
         Value like = g.scalar(DType::fp32, 0);
         return Values{g.add(mil::gather{.x = random_constant(g, like, {4, 30}), .indices = x[0]})};
       }});
  add({"gather_along_axis", {{'F', {2, 4, 3}}, {'n', {2, 6, 3}}}, [](Builder& g, const Values& x) {
         return Values{g.add(mil::gather_along_axis{.x = x[0], .indices = x[1], .axis = 1})};
       }});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Moves, KernelCase, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace pomona::cpu
