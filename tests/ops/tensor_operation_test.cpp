// Ops that join, split, make, count, sort and repeat tensors, against NumPy's results.
#include "ops/tensor_operation.h"

#include <cmath>

#include "declared_op.h"

namespace pomona {
namespace {

Dim n() { return Dim::named("n"); }
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(TensorOperation, ConcatJoinsAndInterleaves) {
  DeclaredOp op;
  Value a = op.floats({1, 2}, {1, 2}), b = op.floats({1, 2}, {3, 4});
  EXPECT_EQ(op.numbers(mil::concat{.values = Values{a, b}, .axis = -1, .interleave = true}), (Numbers{1, 3, 2, 4}));
  DeclaredOp sizes;
  Value c = sizes.counting({2, 3}, Shape{n(), 3}), d = sizes.counting({1, 3}, Shape{Dim::named("m"), 3});
  sizes.numbers(mil::concat{.values = Values{c, d, c}, .axis = 0});
  EXPECT_EQ(to_string(sizes.inferred), "[m + 2*n, 3]");
  DeclaredOp scalars;
  Value s = scalars.floats({}, {5});
  EXPECT_EQ(scalars.numbers(mil::concat{.values = Values{s, s}, .axis = 0}), (Numbers{5, 5}));
  DeclaredOp wrong;
  Value e = wrong.counting({2, 3}), f = wrong.counting({3, 2});
  EXPECT_EQ(wrong.error(mil::concat{.values = Values{e, f}, .axis = 0}),
            "this value has shape [2, 2], but value 0 has [2, 3]; they must be equal");
  DeclaredOp none;
  EXPECT_EQ(none.error(mil::concat{.values = Values{}, .axis = 0}), "there are no values");
}

TEST(TensorOperation, StackAndSplit) {
  DeclaredOp op;
  Value a = op.floats({2}, {1, 2}), b = op.floats({2}, {3, 4}), c = op.floats({2}, {5, 6});
  EXPECT_EQ(op.numbers(mil::stack{.values = Values{a, b, c}, .axis = -1}), (Numbers{1, 3, 5, 2, 4, 6}));
  DeclaredOp parts;
  auto pieces = parts.run(mil::split{.x = parts.counting({2, 6}, Shape{n(), 6}), .split_sizes = {1, 0, 5}, .axis = 1});
  ASSERT_TRUE(pieces);
  EXPECT_EQ((*pieces)[0].numbers(), (Numbers{1, 7}));
  EXPECT_EQ((*pieces)[1].count(), 0u);
  EXPECT_EQ((*pieces)[2].number(5), 8);
  auto error = [](std::optional<int> count, Ints sizes) {
    DeclaredOp op;
    return op.error(mil::split{.x = op.counting({5}), .num_splits = count, .split_sizes = sizes, .axis = 0});
  };
  EXPECT_EQ(error(2, {}), "x's size along axis is 5, which 2 does not divide");
  EXPECT_EQ(error({}, {}), "neither num_splits nor split_sizes is given");
  EXPECT_EQ(error({}, {-1, 6}), "split_sizes has the entry -1");
  EXPECT_EQ(error(3, {1, 4}), "num_splits is 3, but split_sizes has 2");
  EXPECT_EQ(error(2147483647, {}), "num_splits is 2147483647, outside 1 to 65536");
  DeclaredOp even;
  ASSERT_TRUE(even.run(mil::split{.x = even.counting({4}, Shape{2 * n()}), .num_splits = 2, .axis = 0}));
  EXPECT_EQ(to_string(even.inferred), "[n]");
}

TEST(TensorOperation, FillTakesTheValuesDtype) {
  DeclaredOp op;
  auto result = op.run(mil::fill{.shape = op.integers({2, 0, 3}), .value = Scalar{DType::boolean, 1}});
  ASSERT_TRUE(result);
  EXPECT_EQ((*result)[0].type().text(), tensor_type(DType::boolean, {2, 0, 3}).text());
  DeclaredOp plain;
  EXPECT_EQ(plain.numbers(mil::fill{.shape = plain.constant({3})}), (Numbers{0, 0, 0}));
  DeclaredOp negative, large, dtype;
  EXPECT_EQ(negative.error(mil::fill{.shape = negative.integers({-1})}), "the result would have the negative size -1");
  EXPECT_NE(large.error(mil::fill{.shape = large.integers({2147483647, 2147483647, 0})}), "no error");
  EXPECT_EQ(dtype.error(mil::fill{.shape = dtype.constant({1}), .value = Scalar{DType::int8, 1}}),
            "value is int8, not fp16, fp32, int32 or bool");
  DeclaredOp like;
  EXPECT_EQ(like.numbers(mil::fill_like{.ref_tensor = like.counting({2}), .value = Scalar{DType::fp16, 0.1}}),
            (Numbers{0.0999755859375, 0.0999755859375}));
}

TEST(TensorOperation, Flatten2dMayLeaveOneSideEmpty) {
  DeclaredOp op, before, after;
  op.numbers(mil::flatten2d{.x = op.counting({2, 3, 4}, Shape{n(), 3, 4}), .axis = -1});
  EXPECT_EQ(to_string(op.inferred), "[3*n, 4]");
  before.numbers(mil::flatten2d{.x = before.counting({5}), .axis = -1});
  EXPECT_EQ(to_string(before.inferred), "[1, 5]");
  after.numbers(mil::flatten2d{.x = after.counting({2, 3}), .axis = 2});
  EXPECT_EQ(to_string(after.inferred), "[6, 1]");
}

TEST(TensorOperation, SortingPutsNanAboveAll) {
  DeclaredOp ascending, descending;
  EXPECT_EQ(ascending.numbers(mil::argsort{.x = ascending.floats({2, 3}, {3, nan, 1, 2, 2, -5}), .ascending = true}),
            (Numbers{2, 0, 1, 2, 0, 1}));
  EXPECT_EQ(descending.numbers(mil::argsort{.x = descending.floats({3, 2}, {3, 2, nan, 2, 1, -5}), .axis = 0}),
            (Numbers{1, 0, 0, 1, 2, 2}));
}

TEST(TensorOperation, TopkGivesValuesAndIndices) {
  DeclaredOp op(iOS17);
  auto result = op.run(mil::topk{.x = op.floats({2, 3}, {3, 9, 5, 7, 7, 8}), .k = 2, .output_indices_dtype = "uint16"});
  ASSERT_TRUE(result);
  EXPECT_EQ((*result)[0].numbers(), (Numbers{9, 5, 8, 7}));
  EXPECT_EQ((*result)[1].numbers(), (Numbers{1, 2, 2, 0}));
  EXPECT_EQ((*result)[1].dtype(), DType::uint16);
  DeclaredOp all(iOS17);
  result = all.run(mil::topk{.x = all.floats({3}, {3, 9, 5}), .k = -1, .ascending = true, .return_indices = false});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->size(), 1u);
  EXPECT_EQ((*result)[0].numbers(), (Numbers{3, 5, 9}));
  DeclaredOp none(iOS17), more(iOS17), old(iOS15);
  EXPECT_EQ(none.numbers(mil::topk{.x = none.counting({2, 3}), .k = 0}), Numbers());
  EXPECT_EQ(more.error(mil::topk{.x = more.counting({3}), .k = 4}), "k is 4, but x has 3 elements along axis");
  EXPECT_EQ(old.error(mil::topk{.x = old.counting({3}), .sort = false}),
            "input 'sort' needs iOS16, but the function is for iOS15");
}

TEST(TensorOperation, CumsumExcludesReversesAndWraps) {
  DeclaredOp op;
  EXPECT_EQ(op.numbers(mil::cumsum{.x = op.counting({3, 4}), .axis = 0, .exclusive = true, .reverse = true}),
            (Numbers{14, 16, 18, 20, 9, 10, 11, 12, 0, 0, 0, 0}));
  DeclaredOp wrapping;
  EXPECT_EQ(wrapping.numbers(mil::cumsum{.x = wrapping.integers({2147483647, 1, 5})}),
            (Numbers{2147483647, -2147483648.0, -2147483643.0}));
}

TEST(TensorOperation, BandPartAndNonZero) {
  DeclaredOp band;
  EXPECT_EQ(band.numbers(mil::band_part{.x = band.counting({3, 4}), .lower = 1, .upper = 0}),
            (Numbers{1, 0, 0, 0, 5, 6, 0, 0, 0, 10, 11, 0}));
  DeclaredOp places, scalar;
  EXPECT_EQ(places.numbers(mil::non_zero{.x = places.floats({2, 2}, {0, nan, -0.0, 2})}), (Numbers{0, 1, 1, 1}));
  EXPECT_FALSE(places.inferred[0].known());
  auto result = scalar.run(mil::non_zero{.x = scalar.floats({}, {3})});
  ASSERT_TRUE(result);
  EXPECT_EQ((*result)[0].sizes(), (Sizes{1, 0}));
}

TEST(TensorOperation, OneHotIgnoresIndicesOutside) {
  DeclaredOp op;
  mil::one_hot call{.indices = op.integers({1, -1, 3}),
                    .one_hot_vector_size = op.g.scalar(DType::int32, 2),
                    .axis = 0,
                    .on_value = Scalar{DType::fp32, 2.5},
                    .off_value = Scalar{DType::fp32, -1}};
  EXPECT_EQ(op.numbers(call), (Numbers{-1, -1, -1, 2.5, -1, -1}));
  DeclaredOp mixed;
  EXPECT_EQ(mixed.error(mil::one_hot{.indices = mixed.integers({1}),
                                     .one_hot_vector_size = mixed.g.scalar(DType::int32, 2),
                                     .on_value = Scalar{DType::fp16, 1},
                                     .off_value = Scalar{DType::fp32, 0}}),
            "on_value is fp16, but off_value is fp32");
}

TEST(TensorOperation, PadModes) {
  auto padded = [](const char* mode, const Ints& amounts) {
    DeclaredOp op;
    return op.numbers(
        mil::pad{.x = op.counting({2, 3}), .pad = op.constant(amounts), .mode = mode, .constant_val = -1});
  };
  EXPECT_EQ(padded("reflect", {1, 0, 2, 2}), (Numbers{6, 5, 4, 5, 6, 5, 4, 3, 2, 1, 2, 3, 2, 1, 6, 5, 4, 5, 6, 5, 4}));
  EXPECT_EQ(padded("replicate", {1, 2}), (Numbers{1, 1, 2, 3, 3, 3, 4, 4, 5, 6, 6, 6}));
  EXPECT_EQ(padded("constant", {0, 1, 1, 0}), (Numbers{-1, 1, 2, 3, -1, 4, 5, 6, -1, -1, -1, -1}));
  DeclaredOp symbolic;
  symbolic.numbers(mil::pad{.x = symbolic.counting({2, 3}, Shape{n(), 3}), .pad = symbolic.integers({1, 0, 2, 2})});
  EXPECT_FALSE(symbolic.inferred[0].known());
  auto error = [](const char* mode, const Ints& amounts) {
    DeclaredOp op;
    return op.error(mil::pad{.x = op.counting({3}), .pad = op.constant(amounts), .mode = mode});
  };
  EXPECT_EQ(error("reflect", {3, 0}), "dim 0 of x has 3 elements, too few to reflect 3 more");
  EXPECT_EQ(error("constant", {1, 0, 0, 1}), "pad has 4 entries, but x has rank 1");
  EXPECT_EQ(error("constant", {-1, 0}), "pad has the entry -1");
  EXPECT_EQ(error("circular", {1, 0}), "mode is 'circular', not constant, reflect or replicate");
  EXPECT_NE(error("reflect", {2147483647, 2147483647}), "no error");
}

TEST(TensorOperation, RangeCountsUp) {
  auto range = [](DType dtype, double start, double end, double step) {
    DeclaredOp op;
    return op.numbers(mil::range_1d{.end = op.input(Tensor::scalar(dtype, end)),
                                    .start = op.input(Tensor::scalar(dtype, start)),
                                    .step = op.input(Tensor::scalar(dtype, step))});
  };
  EXPECT_EQ(range(DType::fp32, 0.5, 2.1, 0.25), (Numbers{0.5, 0.75, 1, 1.25, 1.5, 1.75, 2}));
  EXPECT_EQ(range(DType::int32, 5, 0, -2), (Numbers{5, 3, 1}));
  EXPECT_EQ(range(DType::int32, 5, 0, 2), Numbers());
  auto error = [](double end, double step) {
    DeclaredOp op;
    return op.error(mil::range_1d{.end = op.g.scalar(DType::fp32, end),
                                  .start = op.g.scalar(DType::fp32, 0),
                                  .step = op.g.scalar(DType::fp32, step)});
  };
  EXPECT_EQ(error(3, 0), "start is 0, end 3 and step 0, which makes no range");
  EXPECT_NE(error(nan, 1), "no error");
  EXPECT_NE(error(1e30, 1e-30), "no error");
  DeclaredOp op;
  Value x = op.counting({4}, Shape{n()});
  Value size = op.g.add(mil::shape{.x = x});
  Value zero = op.g.ints({0}), one = op.g.ints({2});
  op.numbers(mil::range_1d{.end = size, .start = zero, .step = one});
  EXPECT_EQ(to_string(op.inferred), "[floor((n + 1)/2)]");
}

TEST(TensorOperation, TileRepeats) {
  DeclaredOp op;
  EXPECT_EQ(op.numbers(mil::tile{.x = op.counting({2, 2}, Shape{2, n()}), .reps = op.constant({2, 3})}),
            (Numbers{1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4, 1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4}));
  EXPECT_EQ(to_string(op.inferred), "[4, 3*n]");
  DeclaredOp zero, large;
  EXPECT_EQ(zero.error(mil::tile{.x = zero.counting({2}), .reps = zero.integers({0})}),
            "reps[0] is 0; it must be at least 1");
  EXPECT_NE(large.error(mil::tile{.x = large.counting({2, 2}), .reps = large.integers({2147483647, 2147483647})}),
            "no error");
}

TEST(TensorOperation, IdentityKeepsAnything) {
  DeclaredOp op;
  EXPECT_EQ(op.numbers(mil::identity{.x = op.floats({}, {7})}), (Numbers{7}));
  Tensor words = Tensor::strings({2}, {"a", "b"});
  DeclaredOp strings;
  auto result = strings.run(mil::identity{.x = strings.input(words)});
  ASSERT_TRUE(result);
  EXPECT_TRUE((*result)[0].same_bits(words));
}

TEST(TensorOperation, ShapeArithmeticStaysKnown) {
  DeclaredOp op;
  Value x = op.counting({2, 3}, Shape{n(), 3});
  Value size = op.g.add(mil::shape{.x = x});
  Value first = op.g.add(mil::split{.x = size, .split_sizes = {1, 1}, .axis = 0});
  Value both = op.g.add(mil::concat{.values = Values{first, op.g.ints({-1}), size}, .axis = 0});
  EXPECT_EQ(*both.contents(), (std::vector<Dim>{n(), -1, n(), 3}));
  Value twice = op.g.add(mil::tile{.x = first, .reps = op.g.ints({2})});
  EXPECT_EQ(*twice.contents(), (std::vector<Dim>{n(), n()}));
  Value same = op.g.add(mil::identity{.x = twice});
  Value filled = op.g.add(mil::fill{.shape = same});
  EXPECT_EQ(to_string(filled.shape()), "[n, n]");
  Value sevens = op.g.add(mil::fill{.shape = op.g.ints({2}), .value = Scalar{DType::int32, 7}});
  EXPECT_EQ(*sevens.contents(), (std::vector<Dim>{7, 7}));
  Value count = op.g.add(mil::range_1d{.end = op.g.scalar(DType::int32, 6),
                                       .start = op.g.scalar(DType::int32, 0),
                                       .step = op.g.scalar(DType::int32, 3)});
  EXPECT_EQ(*count.contents(), (std::vector<Dim>{0, 3}));
  Value scalar = op.g.scalar(DType::int32, 4);
  Value stacked = op.g.add(mil::stack{.values = Values{scalar, scalar}, .axis = 0});
  ASSERT_TRUE(op.g.status()) << describe(op.g.status().error());
  EXPECT_EQ(*stacked.contents(), (std::vector<Dim>{4, 4}));
}

}  // namespace
}  // namespace pomona
