// Reading and writing by index tensors, against NumPy's take, take_along_axis and add.at.
#include "ops/gather_scatter.h"

#include "declared_op.h"

namespace pomona {
namespace {

Dim n() { return Dim::named("n"); }

TEST(GatherScatter, GatherTakesSlices) {
  DeclaredOp op;
  EXPECT_EQ(op.numbers(mil::gather{.x = op.counting({3, 4}, Shape{n(), 4}), .indices = op.integers({2, 0}), .axis = 1}),
            (Numbers{3, 1, 7, 5, 11, 9}));
  EXPECT_EQ(to_string(op.inferred), "[n, 2]");
  DeclaredOp scalar;
  EXPECT_EQ(scalar.numbers(mil::gather{.x = scalar.counting({2, 3}), .indices = scalar.g.scalar(DType::int32, 1)}),
            (Numbers{4, 5, 6}));
}

TEST(GatherScatter, GatherPairsBatchDims) {
  DeclaredOp op(iOS16);
  Value indices = op.input(Tensor::from_numbers(DType::int32, {2, 2, 2}, {1, 0, 0, 1, 1, 0, 0, 0}));
  EXPECT_EQ(op.numbers(mil::gather{.x = op.counting({2, 2, 3}), .indices = indices, .axis = 2, .batch_dims = 2}),
            (Numbers{2, 1, 4, 5, 8, 7, 10, 10}));
  DeclaredOp axis(iOS16), many(iOS16), sizes(iOS16);
  EXPECT_EQ(axis.error(mil::gather{.x = axis.counting({2, 3}), .indices = axis.integers({1, 1}), .batch_dims = 1}),
            "axis 0 is among the 1 batch dims");
  EXPECT_EQ(many.error(mil::gather{.x = many.counting({2, 3}), .indices = many.integers({1}), .batch_dims = 2}),
            "batch_dims is 2, but x has rank 2 and indices has rank 1");
  EXPECT_EQ(sizes.error(mil::gather{
                .x = sizes.counting({2, 3}), .indices = sizes.integers({1, 2, 3}), .axis = 1, .batch_dims = 1}),
            "x's size is 2, but that of indices is 3; they must be equal");
}

TEST(GatherScatter, NegativeIndicesUpToIOS16AndOutOfBoundsAfter) {
  auto gathered = [](Target opset, std::int64_t index) {
    DeclaredOp op(opset);
    return op.numbers(mil::gather{.x = op.counting({3}), .indices = op.integers({index})});
  };
  EXPECT_EQ(gathered(iOS16, -1), (Numbers{3}));
  EXPECT_EQ(gathered(iOS17, -1), (Numbers{0}));
  EXPECT_EQ(gathered(iOS17, 2147483647), (Numbers{0}));
  auto error = [](Target opset, std::int64_t index) {
    DeclaredOp op(opset);
    return op.error(
        mil::gather{.x = op.counting({3}), .indices = op.integers({index}), .validate_indices = opset >= iOS17});
  };
  EXPECT_EQ(error(iOS16, 3), "index 3 is outside a size of 3");
  EXPECT_EQ(error(iOS16, -4), "index -4 is outside a size of 3");
  EXPECT_EQ(error(iOS17, -1), "index -1 is outside a size of 3");
}

TEST(GatherScatter, GatherKeepsKnownElements) {
  DeclaredOp op;
  Value sizes = op.integers({5, 6});
  sizes.info().contents = std::vector<Dim>{n(), 4};
  Value one = op.g.add(mil::gather{.x = sizes, .indices = op.g.scalar(DType::int32, 0)});
  EXPECT_EQ(*one.contents(), (std::vector<Dim>{n()}));
  Value outside = op.g.add(mil::gather{.x = sizes, .indices = op.g.scalar(DType::int32, 2)});
  EXPECT_FALSE(outside.contents());
}

TEST(GatherScatter, GatherAlongAxisAndTuples) {
  DeclaredOp along(iOS16);
  Value indices = along.input(Tensor::from_numbers(DType::int32, {2, 2}, {2, 0, 1, -1}));
  EXPECT_EQ(along.numbers(mil::gather_along_axis{.x = along.counting({2, 3}), .indices = indices, .axis = -1}),
            (Numbers{3, 1, 5, 6}));
  DeclaredOp tuples(iOS16);
  Value places = tuples.input(Tensor::from_numbers(DType::int16, {2, 2}, {1, 2, 0, 0}));
  EXPECT_EQ(tuples.numbers(mil::gather_nd{.x = tuples.counting({2, 3, 2}), .indices = places}),
            (Numbers{11, 12, 1, 2}));
  DeclaredOp whole(iOS16);
  Value empty = whole.input(Tensor(DType::int32, {2, 0}));
  EXPECT_EQ(whole.numbers(mil::gather_nd{.x = whole.counting({2}), .indices = empty}), (Numbers{1, 2, 1, 2}));
  DeclaredOp deep(iOS16), scalar(iOS16);
  EXPECT_EQ(deep.error(mil::gather_nd{.x = deep.counting({2}), .indices = deep.integers({0, 1})}),
            "indices holds tuples of 2 numbers, but only 1 dims are left to index");
  EXPECT_EQ(scalar.error(mil::gather_nd{.x = scalar.counting({2}), .indices = scalar.g.scalar(DType::int32, 0)}),
            "indices is a scalar; its last dim must hold index tuples");
}

TEST(GatherScatter, ScatterCombines) {
  auto scattered = [](const char* mode, std::int64_t index) {
    DeclaredOp op(iOS17);
    return op.numbers(mil::scatter{.data = op.floats({3}, {8, 4, 2}),
                                   .indices = op.integers({1, index}),
                                   .updates = op.floats({2}, {2, 5}),
                                   .mode = mode});
  };
  EXPECT_EQ(scattered("add", 1), (Numbers{8, 11, 2}));
  EXPECT_EQ(scattered("sub", 0), (Numbers{3, 2, 2}));
  EXPECT_EQ(scattered("mul", 2), (Numbers{8, 8, 10}));
  EXPECT_EQ(scattered("div", 2), (Numbers{8, 2, 0.4f}));
  EXPECT_EQ(scattered("max", 2), (Numbers{8, 4, 5}));
  EXPECT_EQ(scattered("min", 0), (Numbers{5, 2, 2}));
  EXPECT_EQ(scattered("update", -1), (Numbers{8, 2, 2}));
  DeclaredOp plain;
  EXPECT_EQ(
      plain.numbers(mil::scatter{
          .data = plain.integers({1, 2147483647}), .indices = plain.integers({1}), .updates = plain.integers({1})}),
      (Numbers{1, -2147483648.0}));
  DeclaredOp mode, shape;
  EXPECT_EQ(
      mode.error(mil::scatter{
          .data = mode.counting({3}), .indices = mode.integers({1}), .updates = mode.counting({1}), .mode = "set"}),
      "mode is 'set', not update, add, sub, mul, div, max or min");
  EXPECT_EQ(shape.error(mil::scatter{
                .data = shape.counting({3}), .indices = shape.integers({1}), .updates = shape.counting({2})}),
            "updates has shape [2], but data at the indices has [1]; they must be equal");
}

TEST(GatherScatter, ScatterAlongAxisAndTuples) {
  DeclaredOp along(iOS16);
  Value indices = along.input(Tensor::from_numbers(DType::int32, {2, 2}, {2, 0, -1, 1}));
  EXPECT_EQ(along.numbers(mil::scatter_along_axis{.data = along.floats({2, 3}, {0, 0, 0, 0, 0, 0}),
                                                  .indices = indices,
                                                  .updates = along.counting({2, 2}),
                                                  .axis = 1,
                                                  .mode = "update"}),
            (Numbers{2, 0, 1, 0, 4, 3}));
  DeclaredOp tuples(iOS16);
  Value places = tuples.input(Tensor::from_numbers(DType::int32, {3, 2}, {0, 1, 0, 1, 2, 2}));
  EXPECT_EQ(tuples.numbers(mil::scatter_nd{.data = tuples.floats({3, 3}, {0, 0, 0, 0, 0, 0, 0, 0, 0}),
                                           .indices = places,
                                           .updates = tuples.floats({3}, {1, 2, 5})}),
            (Numbers{0, 3, 0, 0, 0, 0, 0, 0, 5}));
}

}  // namespace
}  // namespace pomona
