// Layout ops against NumPy's results (transpose, flip, slices, sliding_window_view) and Core ML's documented examples.
#include "ops/shape.h"

#include <algorithm>

#include "declared_op.h"

namespace pomona {
namespace {

Dim n() { return Dim::named("n"); }

TEST(Shape, ExpandDimsCountsAxesInTheResult) {
  DeclaredOp op;
  op.numbers(mil::expand_dims{.x = op.counting({2, 3}, Shape{n(), 3}), .axes = {-1, 1}});
  EXPECT_EQ(to_string(op.inferred), "[n, 1, 3, 1]");
  DeclaredOp twice;
  EXPECT_EQ(twice.error(mil::expand_dims{.x = twice.counting({2}), .axes = {0, -3}}), "axis -3 is given twice");
}

TEST(Shape, SqueezeLeavesListedDimsThatAreNotOne) {
  DeclaredOp op;
  op.numbers(mil::squeeze{.x = op.counting({1, 2, 1}), .axes = {0, 1}});
  EXPECT_EQ(to_string(op.inferred), "[2, 1]");
  DeclaredOp all;
  all.numbers(mil::squeeze{.x = all.counting({1, 2, 1})});
  EXPECT_EQ(to_string(all.inferred), "[2]");
}

TEST(Shape, ReshapeZerosCountFromTheEndSinceIOS17) {
  DeclaredOp op(iOS17);
  op.numbers(mil::reshape{.x = op.counting({2, 50}), .shape = op.constant({1, 0, -1, 0})});
  EXPECT_EQ(to_string(op.inferred), "[1, 1, 2, 50]");
  DeclaredOp shorter(iOS17);
  shorter.numbers(mil::reshape{.x = shorter.counting({2, 3, 4}), .shape = shorter.constant({0, -1})});
  EXPECT_EQ(to_string(shorter.inferred), "[3, 8]");
  DeclaredOp before(iOS16);
  before.numbers(mil::reshape{.x = before.counting({2, 3, 4}), .shape = before.constant({0, -1, 2})});
  EXPECT_EQ(to_string(before.inferred), "[2, 6, 2]");
  DeclaredOp rank(iOS16);
  EXPECT_EQ(rank.error(mil::reshape{.x = rank.counting({2, 6}), .shape = rank.constant({0, 2, -1})}),
            "shape has a 0 and 3 entries, but x has rank 2");
}

TEST(Shape, ReshapeKeepsExpressions) {
  DeclaredOp op;
  op.numbers(mil::reshape{.x = op.counting({3, 4, 2}, Shape{n(), 4, 2}), .shape = op.constant({-1, 8})});
  EXPECT_EQ(to_string(op.inferred), "[n, 8]");
  DeclaredOp divided;
  divided.numbers(mil::reshape{.x = divided.counting({3, 4}, Shape{n(), 4}), .shape = divided.constant({2, -1})});
  EXPECT_EQ(to_string(divided.inferred), "[2, 2*n]");
  DeclaredOp run_time;
  run_time.numbers(mil::reshape{.x = run_time.counting({3, 4}), .shape = run_time.integers({2, -1})});
  EXPECT_FALSE(run_time.inferred[1].known());
}

TEST(Shape, ReshapeRefusesWhatCannotBe) {
  auto error = [](const Ints& shape, Sizes sizes) {
    DeclaredOp op;
    return op.error(mil::reshape{.x = op.counting(std::move(sizes)), .shape = op.constant(shape)});
  };
  EXPECT_EQ(error({5, 2}, {3, 4}), "x of shape [3, 4] cannot become [5, 2]: it has another element count");
  EXPECT_EQ(error({5, -1}, {3, 4}), "x has 12 elements, which 5 does not divide");
  EXPECT_EQ(error({-1, -1}, {3, 4}), "shape has more than one -1");
  EXPECT_EQ(error({-3, -4}, {3, 4}), "shape has the entry -3");
  EXPECT_EQ(error({0, -1}, {0, 3}), "shape has -1 beside a size of 0, so that it could be anything");
  // The product wraps to 0, x's element count.
  EXPECT_NE(error({65536, 65536, 65536, 65536}, {0}), "no error");
  DeclaredOp matrix;
  Value shape = matrix.input(Tensor::from_numbers(DType::int32, {1, 1}, {4}));
  EXPECT_EQ(matrix.error(mil::reshape{.x = matrix.counting({4}), .shape = shape}), "'shape' has rank 2, not 1");
}

TEST(Shape, ReshapeLikeJoinsPartsOfShapes) {
  DeclaredOp op(iOS16);
  Value a = op.counting({3, 2, 5}), b = op.counting({7, 2});
  mil::reshape_like call{
      .x = op.counting({2, 6}), .ref_tensors = Values{a, b}, .begins = {0, -1}, .ends = {2, 0}, .end_masks = {0, 1}};
  op.numbers(call);
  EXPECT_EQ(to_string(op.inferred), "[3, 2, 2]");
}

TEST(Shape, TransposeAndReverseFollowNumpy) {
  DeclaredOp op;
  EXPECT_EQ(op.numbers(mil::transpose{.x = op.counting({2, 3, 4}), .perm = {2, -3, 1}}),
            (Numbers{1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22, 3, 7, 11, 15, 19, 23, 4, 8, 12, 16, 20, 24}));
  DeclaredOp reversed;
  EXPECT_EQ(reversed.numbers(mil::reverse{.x = reversed.counting({2, 3, 4}), .axes = {0, -1}}),
            (Numbers{16, 15, 14, 13, 20, 19, 18, 17, 24, 23, 22, 21, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9}));
  DeclaredOp wrong;
  EXPECT_EQ(wrong.error(mil::transpose{.x = wrong.counting({2, 3}), .perm = {0, 0}}), "axis 0 is given twice");
}

TEST(Shape, MovesKeepBits) {
  // A signalling NaN with a payload, as fp16.
  Tensor odd(DType::fp16, {2});
  odd.mutable_view<std::uint16_t>()[0] = 0x7D23;
  odd.mutable_view<std::uint16_t>()[1] = 0x8000;
  DeclaredOp op;
  auto result = op.run(mil::reverse{.x = op.input(odd)});
  ASSERT_TRUE(result);
  EXPECT_EQ((*result)[0].view<std::uint16_t>()[1], 0x7D23);
  EXPECT_EQ((*result)[0].view<std::uint16_t>()[0], 0x8000);
}

TEST(Shape, ReverseSequenceTurnsTheFirstElements) {
  DeclaredOp op;
  EXPECT_EQ(op.numbers(mil::reverse_sequence{.x = op.floats({1, 8}, {1, 2, 3, 4, 5, 0, 0, 0}),
                                             .lengths = op.integers({7}),
                                             .seq_axis = 1,
                                             .batch_axis = 0}),
            (Numbers{0, 0, 5, 4, 3, 2, 1, 0}));
  DeclaredOp far;
  EXPECT_EQ(far.error(mil::reverse_sequence{
                .x = far.counting({1, 3}), .lengths = far.integers({4}), .seq_axis = 1, .batch_axis = 0}),
            "lengths[0] is 4, but x has 3 elements along seq_axis");
}

TEST(Shape, SlicesFollowPython) {
  // x[1, ::-2, -3:100]
  DeclaredOp op;
  mil::slice_by_index call{.x = op.counting({2, 3, 4}),
                           .begin = op.constant({1, 0, -3}),
                           .end = op.constant({0, 0, 100}),
                           .stride = {1, -2, 1},
                           .begin_mask = {0, 1, 0},
                           .end_mask = {0, 1, 0},
                           .squeeze_mask = {1, 0, 0}};
  EXPECT_EQ(op.numbers(call), (Numbers{22, 23, 24, 14, 15, 16}));
  EXPECT_EQ(to_string(op.inferred), "[2, 3]");
  DeclaredOp outside;
  EXPECT_EQ(outside.error(mil::slice_by_index{.x = outside.counting({3}),
                                              .begin = outside.constant({3}),
                                              .end = outside.constant({0}),
                                              .squeeze_mask = {1}}),
            "element 3 of 3 does not exist");
  DeclaredOp still;
  EXPECT_EQ(still.error(mil::slice_by_index{
                .x = still.counting({3}), .begin = still.constant({0}), .end = still.constant({3}), .stride = {0}}),
            "stride has a 0");
}

// The expression for a slice of n elements, which must give Python's count for every small n.
void expect_python_count(std::optional<std::int64_t> begin, std::optional<std::int64_t> end, std::int64_t stride) {
  for (std::int64_t size = 0; size < 7; ++size) {
    DeclaredOp op;
    auto result = op.run(mil::slice_by_index{.x = op.counting({size}, Shape{n()}),
                                             .begin = op.constant({begin.value_or(0)}),
                                             .end = op.constant({end.value_or(0)}),
                                             .stride = {stride},
                                             .begin_mask = {!begin},
                                             .end_mask = {!end}});
    ASSERT_TRUE(result);
    std::int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? size : size - 1, expected = 0;
    auto bound = [&](std::optional<std::int64_t> b, std::int64_t open) {
      if (!b) return open;
      return std::clamp(*b < 0 ? *b + size : *b, low, std::max(low, high));
    };
    std::int64_t first = bound(begin, stride > 0 ? 0 : size - 1), last = bound(end, stride > 0 ? size : -1);
    for (std::int64_t i = first; stride > 0 ? i < last : i > last; i += stride) ++expected;
    EXPECT_EQ((*result)[0].sizes()[0], expected) << size;
    EXPECT_EQ(op.inferred[0].at({{"n", size}}), expected) << op.inferred[0].text() << " at " << size;
  }
}
TEST(Shape, SliceCountsOfUnknownSizesAreRightForEverySize) {
  std::optional<std::int64_t> open;
  for (auto begin : {open, std::optional<std::int64_t>(0), std::optional<std::int64_t>(2),
                     std::optional<std::int64_t>(5), std::optional<std::int64_t>(-1), std::optional<std::int64_t>(-3)})
    for (auto end :
         {open, std::optional<std::int64_t>(0), std::optional<std::int64_t>(3), std::optional<std::int64_t>(-2),
          std::optional<std::int64_t>(2147483647), std::optional<std::int64_t>(-2147483647)})
      for (std::int64_t stride : {1, 2, 3, -1, -2}) expect_python_count(begin, end, stride);
}

TEST(Shape, SlicesOfUnknownSizesAreSimpleWhereTheyCanBe) {
  auto text = [](std::int64_t begin, std::int64_t end) {
    DeclaredOp op;
    op.numbers(mil::slice_by_index{
        .x = op.counting({5}, Shape{n()}), .begin = op.constant({begin}), .end = op.constant({end})});
    return op.inferred[0].text();
  };
  EXPECT_EQ(text(0, 2147483647), "n");
  EXPECT_EQ(text(1, 2147483647), text(0, -1));
  DeclaredOp op;
  Value x = op.counting({5}, Shape{n()}), end = op.g.ints({2147483647});
  Value back = op.g.add(mil::slice_by_index{.x = x, .begin = op.g.ints({2}), .end = end});
  Value front = op.g.add(mil::slice_by_index{.x = x, .begin = op.g.ints({0}), .end = op.g.ints({2})});
  ASSERT_TRUE(op.g.status());
  EXPECT_EQ(back.shape()[0] + front.shape()[0], n());
}

TEST(Shape, SliceBySizeTakesTheRest) {
  DeclaredOp op;
  EXPECT_EQ(op.numbers(mil::slice_by_size{
                .x = op.counting({2, 5}, Shape{2, n()}), .begin = op.constant({-1, 3}), .size = op.constant({1, -1})}),
            (Numbers{9, 10}));
  EXPECT_EQ(to_string(op.inferred), "[1, n - 3]");
  DeclaredOp beyond;
  EXPECT_EQ(beyond.error(mil::slice_by_size{
                .x = beyond.counting({5}), .begin = beyond.constant({3}), .size = beyond.constant({3})}),
            "begin[0] = 3 and size[0] = 3 reach outside x's 5 elements");
}

TEST(Shape, SliceUpdateReplacesTheSlice) {
  // y[:, 0:3:2, 1] = [[-1, -2], [-3, -4]]
  DeclaredOp op(iOS18);
  mil::slice_update call{.x = op.counting({2, 3, 4}),
                         .update = op.floats({2, 2}, {-1, -2, -3, -4}),
                         .begin = op.constant({0, 0, 1}),
                         .end = op.constant({0, 3, 0}),
                         .stride = {1, 2, 1},
                         .end_mask = {1, 0, 0},
                         .squeeze_mask = {0, 0, 1}};
  EXPECT_EQ(op.numbers(call),
            (Numbers{1, -1, 3, 4, 5, 6, 7, 8, 9, -2, 11, 12, 13, -3, 15, 16, 17, 18, 19, 20, 21, -4, 23, 24}));
  DeclaredOp scalar(iOS18);
  EXPECT_EQ(scalar.error(mil::slice_update{.x = scalar.counting({3}),
                                           .update = scalar.floats({}, {1}),
                                           .begin = scalar.constant({0}),
                                           .end = scalar.constant({1}),
                                           .squeeze_mask = {1}}),
            "update is a scalar; it needs rank 1 or more");
}

TEST(Shape, SlidingWindowsOverlap) {
  DeclaredOp op;
  EXPECT_EQ(
      op.numbers(mil::sliding_windows{.x = op.counting({2, 5}, Shape{2, n()}), .axis = 1, .size = 2, .stride = 3}),
      (Numbers{1, 2, 4, 5, 6, 7, 9, 10}));
  EXPECT_EQ(to_string(op.inferred), "[2, floor((n + 1)/3), 2]");
  DeclaredOp still;
  EXPECT_EQ(still.error(mil::sliding_windows{.x = still.counting({5}), .axis = 0, .size = 2, .stride = 0}),
            "size is 2 and stride 0; both must be at least 1");
}

TEST(Shape, DepthAndSpaceOrders) {
  DeclaredOp depth, shuffle;
  EXPECT_EQ(depth.numbers(mil::depth_to_space{.x = depth.counting({1, 8, 1, 2}), .block_size = 2}),
            (Numbers{1, 5, 2, 6, 9, 13, 10, 14, 3, 7, 4, 8, 11, 15, 12, 16}));
  EXPECT_EQ(shuffle.numbers(mil::pixel_shuffle{.x = shuffle.counting({1, 8, 1, 2}), .upscale_factor = 2}),
            (Numbers{1, 3, 2, 4, 5, 7, 6, 8, 9, 11, 10, 12, 13, 15, 14, 16}));
  DeclaredOp back;
  Value x = back.counting({1, 4, 2, 2}, Shape{1, 4, n(), 2});
  Value y = back.g.add(mil::pixel_shuffle{.x = x, .upscale_factor = 2});
  EXPECT_EQ(back.numbers(mil::pixel_unshuffle{.x = y, .downscale_factor = 2}),
            (Numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}));
  EXPECT_EQ(to_string(back.inferred), "[1, 4, n, 2]");
  for (std::int64_t factor : {std::int64_t(0), std::int64_t(4294967295)}) {
    DeclaredOp wrong;
    EXPECT_NE(wrong.error(mil::pixel_unshuffle{.x = wrong.counting({1, 1, 2, 2}), .downscale_factor = factor}),
              "no error");
  }
}

TEST(Shape, SpaceToBatchPadsAndCuts) {
  DeclaredOp op;
  mil::space_to_batch call{.x = op.counting({2, 1, 2, 4}), .block_shape = {2, 2}, .paddings = {0, 0, 2, 0}};
  EXPECT_EQ(op.numbers(call), (Numbers{0, 1, 3, 0, 9, 11, 0, 2, 4, 0, 10, 12, 0, 5, 7, 0, 13, 15, 0, 6, 8, 0, 14, 16}));
  DeclaredOp back;
  Value x = back.counting({2, 1, 2, 4});
  Value batches = back.g.add(mil::space_to_batch{.x = x, .block_shape = {2, 2}, .paddings = {0, 0, 2, 0}});
  EXPECT_EQ(back.numbers(mil::batch_to_space{.x = batches, .block_shape = {2, 2}, .crops = {0, 0, 2, 0}}),
            (Numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}));
  DeclaredOp wrong;
  EXPECT_EQ(
      wrong.error(mil::batch_to_space{.x = wrong.counting({4, 1, 1, 1}), .block_shape = {2, 2}, .crops = {2, 1, 0, 0}}),
      "crops takes away more than there is: -1 would be left");
}

TEST(Shape, ShapeLikeValuesKeepTheirElements) {
  DeclaredOp op;
  Value x = op.input(Tensor::ints({10, 20, 30}));
  x.info().contents = std::vector<Dim>{n(), 2 * n(), 7};
  Value reversed = op.g.add(mil::slice_by_index{
      .x = x, .begin = op.g.ints({0}), .end = op.g.ints({0}), .stride = {-2}, .begin_mask = {1}, .end_mask = {1}});
  EXPECT_EQ(*reversed.contents(), (std::vector<Dim>{7, n()}));
  Value one = op.g.add(mil::slice_by_size{.x = x, .begin = op.g.ints({-2}), .size = op.g.ints({1})});
  Value scalar = op.g.add(mil::squeeze{.x = one, .axes = {0}});
  Value again = op.g.add(mil::expand_dims{.x = scalar, .axes = {0}});
  Value flat = op.g.add(mil::reshape{.x = again, .shape = op.g.ints({-1})});
  ASSERT_TRUE(op.g.status());
  EXPECT_EQ(*flat.contents(), (std::vector<Dim>{2 * n()}));
}

}  // namespace
}  // namespace pomona
