// Image ops. Expected values: coremltools' unit tests, and NumPy for the rest.
#include "ops/image.h"
#include "graph.h"

namespace pomona {
namespace {

using enum DType;

Tensor resized(const char* mode, int width) {
  Graph t;
  Value x = t.input(fp32, {1, 1, 2}, {0, 1});
  return t.run(t.g.add_all(mil::resize_bilinear{.x = x, .target_size_width = width, .sampling_mode = mode}))[0];
}
TEST(Image, SamplingGrids) {
  expect_numbers(resized("STRICT_ALIGN_CORNERS", 5), {0, .25, .5, .75, 1}, 1e-7);
  expect_numbers(resized("ALIGN_CORNERS", 5), {0, .25, .5, .75, 1}, 1e-7);
  expect_numbers(resized("DEFAULT", 5), {0, .4, .8, 1, 1}, 1e-7);
  expect_numbers(resized("OFFSET_CORNERS", 5), {.1, .3, .5, .7, .9}, 1e-7);
  expect_numbers(resized("UNALIGN_CORNERS", 5), {0, .1, .5, .9, 1}, 1e-7);
  expect_numbers(resized("STRICT_ALIGN_CORNERS", 1), {0});
  expect_numbers(resized("ALIGN_CORNERS", 1), {0.5});
}
TEST(Image, AnEmptyImageCannotGrow) {
  Graph t;
  Value x = t.input(fp32, {1, 0, 2}, {});
  EXPECT_EQ(t.error(t.g.add_all(mil::resize_bilinear{.x = x})), "an empty dimension cannot be resized to 1");
}
TEST(Image, NegativeSizesAreRefused) {
  Graph t;
  Value x = t.input(fp32, {1, 1, 2}, {0, 1});
  EXPECT_EQ(
      t.error(t.g.add_all(mil::resize_nearest_neighbor{.x = x, .target_size_height = -1, .target_size_width = 1})),
      "the result would have the negative size -1");
}
TEST(Image, ResizeNearestTakesTheHalfPixelNeighbour) {
  Graph t(iOS17);
  Value x = t.input(int32, {2, 2}, {1, 2, 3, 4}), shape = t.g.ints({3, 0});
  Values y =
      t.g.add_all(mil::resize{.x = x, .shape = shape, .resized_dims = 2, .interpolation_mode = "NEAREST_NEIGHBOR"});
  expect_numbers(t.run(y)[0], {1, 2, 3, 4, 3, 4});
}
TEST(Image, ResizeToASizeKnownOnlyWhenRunning) {
  Graph t(iOS17);
  Value x = t.input(fp32, {1, 2}, {0, 1}), shape = t.input(uint16, {1}, {3});
  Values y =
      t.g.add_all(mil::resize{.x = x, .shape = shape, .resized_dims = 1, .sampling_mode = "STRICT_ALIGN_CORNERS"});
  EXPECT_FALSE(y[0].shape()[1].known());
  expect_numbers(t.run(y)[0], {0, 0.5, 1});
}
TEST(Image, UpsampleNearestRecomputesTheScale) {
  for (auto [scale, wanted] : {std::pair(0.67, 2), std::pair(1.12, 3), std::pair(double(float(10.0 / 3)), 10)}) {
    Graph t;
    Value x = t.input(fp32, {1, 1, 3}, {1.5, -2.5, 3.5});
    Tensor y = t.run(t.g.add_all(mil::upsample_nearest_neighbor{.x = x, .scale_factor_width = scale}))[0];
    EXPECT_EQ(y.sizes()[2], wanted);
    EXPECT_EQ(y.number(1), wanted == 10 ? 1.5 : -2.5);
  }
}
TEST(Image, UpsampleOfUnknownSizes) {
  Graph t;
  Value x = t.main.body.add_input("x", tensor_type(fp32, {1, 1, Dim::named("h"), Dim::named("w")}));
  Value y = t.g.add(mil::upsample_bilinear{.x = x, .scale_factor_height = 2, .scale_factor_width = 1.5});
  ASSERT_TRUE(t.g.status());
  EXPECT_EQ(y.shape()[2], 2 * Dim::named("h"));
  EXPECT_EQ(y.shape()[3].at({{"w", 5}}), 7);
}
TEST(Image, UpsampleBilinearGridFollowsTheFlags) {
  Graph t(iOS16);
  Value x = t.input(fp32, {1, 1, 2}, {1, 2});
  Value plain = t.g.add(
      mil::upsample_bilinear{.x = x, .scale_factor_width = 3, .align_corners = false, .half_pixel_centers = false});
  Value half = t.g.add(mil::upsample_bilinear{.x = x, .scale_factor_width = 3, .align_corners = false});
  Tensors y = t.run({plain, half});
  expect_numbers(y[0], {1, 4.0 / 3, 5.0 / 3, 2, 2, 2}, 1e-6);
  expect_numbers(y[1], {1, 1, 4.0 / 3, 5.0 / 3, 2, 2}, 1e-6);
}
TEST(Image, Crop) {
  Graph t;
  Value x = t.input(fp16, {1, 3, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  Values y = t.g.add_all(mil::crop{.x = x, .crop_height = Ints{1, 0}, .crop_width = Ints{1, 2}});
  expect_numbers(t.run(y)[0], {6, 10});
  Graph u;
  x = u.input(fp16, {1, 1, 1}, {1});
  EXPECT_EQ(u.error(u.g.add_all(mil::crop{.x = x, .crop_height = Ints{1, 1}, .crop_width = Ints{0, 0}})),
            "the result would have the negative size -1");
}

Value sixteen(Graph& t) { return t.input(fp32, {1, 1, 4, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}); }
Tensor cropped(std::initializer_list<double> box, int size, bool normalized, double pad) {
  Graph t(iOS17);
  Value x = sixteen(t);
  return t.run(t.g.add_all(mil::crop_resize{.x = x,
                                            .boxes = t.input(fp32, {1, 4}, box),
                                            .target_height = size,
                                            .target_width = size,
                                            .normalized_coordinates = normalized,
                                            .sampling_mode = "ALIGN_CORNERS",
                                            .pad_value = pad}))[0];
}
TEST(Image, CropResize) {
  expect_numbers(cropped({1, 1, 2, 2}, 2, false, 0), {6, 7, 10, 11});
  expect_numbers(cropped({1, 1, 2, 2}, 1, false, 0), {8.5});
  expect_numbers(cropped({2, 2, 1, 1}, 2, false, 0), {11, 10, 7, 6});
}
TEST(Image, CropResizePadsWholePixels) {
  expect_numbers(cropped({.1, .3, 1.3, 1.0}, 2, true, -7), {3.1, 5.2, -7, -7}, 1e-5);
  expect_numbers(cropped({.5, 1.8, 1.0, .3}, 2, true, -7), {-7, 7.9, -7, 13.9}, 1e-5);
  expect_numbers(cropped({0, .4, .6, .7}, 2, true, -7), {2.2, 3.1, 9.4, 10.3}, 1e-5);
}
TEST(Image, CropResizeBeforeIos17) {
  for (Target opset : {iOS15, iOS16}) {
    Graph t(opset);
    Value x = t.input(fp32, {2, 1, 1, 2}, {1, 2, 3, 4});
    mil::crop_resize_iOS15 op{.x = x, .target_height = 1, .target_width = 2, .sampling_mode = "STRICT_ALIGN_CORNERS"};
    op.roi = t.input(fp32, {1, 1, 4, 1, 1}, {0, 0, 0, 2});
    Value all = t.g.add(op);
    op.roi = t.input(fp32, {1, 1, 5, 1, 1}, {1, 0, 0, 0, 2});
    Value one = t.g.add(op);
    Tensors y = t.run({all, one});
    EXPECT_EQ(y[0].sizes(), (Sizes{1, 2, 1, 1, 2}));
    EXPECT_EQ(y[1].sizes(), (Sizes{1, 1, 1, 1, 2}));
    // Column 2 is outside: clamped before there was a pad value.
    if (opset == iOS15)
      expect_numbers(y[0], {1, 2, 3, 4});
    else
      expect_numbers(y[0], {1, 0, 3, 0});
    EXPECT_EQ(y[1].number(0), 3);
  }
}
TEST(Image, CropResizeRefusesImagesThatAreNotThere) {
  Graph t(iOS17);
  Value x = sixteen(t), boxes = t.input(fp32, {1, 4}, {0, 0, 1, 1});
  Values y = t.g.add_all(mil::crop_resize{.x = x, .boxes = boxes, .box_indices = t.input(int32, {1}, {-1})});
  EXPECT_EQ(t.error(y), "box 0 names image -1, but there are 1");
}

Tensor resampled(const char* sampling, const char* padding, double value, const char* mode, bool align) {
  Graph t;
  return t.run(t.g.add_all(mil::resample{.x = t.input(fp32, {1, 1, 2, 2}, {11, 22, 33, 44}),
                                         .coordinates = t.input(fp32, {1, 2, 2, 2}, {-1, -2, -3.7, -1, 0, 0, 3.5, 1.2}),
                                         .sampling_mode = sampling,
                                         .padding_mode = padding,
                                         .padding_value = value,
                                         .coordinates_mode = mode,
                                         .align_corners = align}))[0];
}
TEST(Image, Resample) {
  expect_numbers(resampled("bilinear", "constant", 6.17, "normalized_minus_one_to_one", true),
                 {8.585, 6.17, 27.5, 6.17}, 1e-5);
  expect_numbers(resampled("nearest", "border", 0, "unnormalized", false), {11, 11, 11, 44});
  expect_numbers(resampled("bilinear", "reflection", 0, "normalized_zero_to_one", true), {22, 36.3, 11, 34.1}, 1e-5);
  expect_numbers(resampled("nearest", "symmetric", 0, "normalized_zero_to_one", false), {22, 33, 11, 33});
}
TEST(Image, ResampleAtNoNumberAndInfinity) {
  for (const char* padding : {"constant", "border", "reflection", "symmetric"}) {
    Graph t;
    Values y = t.g.add_all(mil::resample{.x = t.input(fp32, {1, 1, 1, 2}, {1, 2}),
                                         .coordinates = t.input(fp32, {1, 1, 2, 2}, {NAN, 0, 0, INFINITY}),
                                         .sampling_mode = "bilinear",
                                         .padding_mode = padding,
                                         .padding_value = 5.0,
                                         .coordinates_mode = "unnormalized",
                                         .align_corners = true});
    Tensor out = t.run(y)[0];
    if (std::string(padding) == "constant") expect_numbers(out, {5, 5});
  }
}
Tensor affine_of(int height, int width) {
  Graph t;
  return t.run(t.g.add_all(mil::affine{.x = t.input(fp32, {1, 1, 2, 2}, {11, 22, 33, 44}),
                                       .transform_matrix = t.input(fp32, {1, 6}, {-1, -2, -3.7, -1, 3.5, 1.2}),
                                       .output_height = height,
                                       .output_width = width,
                                       .sampling_mode = "bilinear",
                                       .padding_mode = "constant",
                                       .padding_value = 0.0,
                                       .coordinates_mode = "normalized_minus_one_to_one",
                                       .align_corners = true}))[0];
}
TEST(Image, Affine) {
  expect_numbers(affine_of(3, 3), {10.7525, 2.5025, 0, 1.98, 0, 0, 0, 0, 0}, 1e-4);
  expect_numbers(affine_of(2, 5), {10.7525, 5.94, 2.5025, .44, 0, 0, 0, 0, 0, 0}, 1e-4);
}

}  // namespace
}  // namespace pomona
