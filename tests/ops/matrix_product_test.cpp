// Expected numbers are NumPy's.
#include "one_op.h"
#include "ops/linear.h"

namespace pomona {
namespace {

const Floats left = ramp(24, 7, 0), right = ramp(24, 5, 0, 7);

TEST(Linear, MultipliesByTheTransposedWeight) {
  for (DType dtype : {DType::fp32, DType::fp16, DType::int32}) {
    OneOp one;
    EXPECT_EQ(one.numbers(mil::linear{.x = one.input(dtype, {2, 3, 4}, left),
                                      .weight = one.constant(dtype, {3, 4}, ramp(12, 5, 0, 7)),
                                      .bias = one.constant(dtype, {3}, {1, 2, 3})}),
              (Floats{10, -24, 12, -8, -2, -3, 29, 9, -18, -11, -2, 0, 26, 9, -15, -14, 9, 25}));
  }
}

TEST(Linear, Errors) {
  OneOp shape, columns, bias, scalar;
  EXPECT_EQ(shape.shape(mil::linear{.x = shape.symbolic(DType::fp32, {Dim::named("n"), 4}),
                                    .weight = shape.constant(DType::fp32, {2, 4}, ramp(8))}),
            "[n, 2]");
  EXPECT_EQ(columns.error(mil::linear{.x = columns.input(DType::fp32, {3}, {1, 2, 3}),
                                      .weight = columns.constant(DType::fp32, {2, 4}, ramp(8))}),
            "x has 3 elements per row, but weight is [2, 4]");
  EXPECT_EQ(bias.error(mil::linear{.x = bias.input(DType::fp32, {4}, ramp(4)),
                                   .weight = bias.constant(DType::fp32, {2, 4}, ramp(8)),
                                   .bias = bias.constant(DType::fp32, {4}, ramp(4))}),
            "bias has 4 elements, but weight is [2, 4]");
  EXPECT_EQ(scalar.error(mil::linear{.x = scalar.input(DType::fp32, {}, {1}),
                                     .weight = scalar.constant(DType::fp32, {2, 4}, ramp(8))}),
            "x has rank 0, but at least 1 is needed");
}

TEST(Matmul, Batches) {
  const Floats broadcast{13, -8, 13, -1, -19, 5, 7, 14, -14, -7, -19, 11, 1, 14, -8, -2, 14, -5};
  for (DType dtype : {DType::fp32, DType::int32}) {
    OneOp both, one;
    EXPECT_EQ(
        both.numbers(mil::matmul{.x = both.input(dtype, {2, 3, 4}, left), .y = both.input(dtype, {2, 4, 3}, right)}),
        (Floats{13, -8, 13, -1, -19, 5, 7, 14, -14, 10, 5, -7, 17, -5, 1, -20, -4, -2}));
    EXPECT_EQ(one.numbers(mil::matmul{.x = one.input(dtype, {2, 3, 4}, left),
                                      .y = one.input(dtype, {1, 4, 3}, Floats(right.begin(), right.begin() + 12))}),
              broadcast);
  }
}

TEST(Matmul, VectorsAreARowAndAColumn) {
  OneOp column, row, dot;
  EXPECT_EQ(column.numbers(mil::matmul{.x = column.input(DType::fp32, {2, 3, 4}, left),
                                       .y = column.input(DType::fp32, {4}, {1, 2, 3, 4})}),
            (Floats{13, 7, -21, 17, -11, -6}));
  EXPECT_EQ(row.numbers(
                mil::matmul{.x = row.input(DType::fp32, {3}, {1, 2, 3}), .y = row.input(DType::fp32, {2, 3, 4}, left)}),
            (Floats{-15, 5, 3, -10, 5, 3, -10, -1}));
  EXPECT_EQ(
      dot.numbers(mil::matmul{.x = dot.input(DType::fp32, {2}, {1, 2}), .y = dot.input(DType::fp32, {2}, {3, 4})}),
      (Floats{11}));
}

TEST(Matmul, Transposes) {
  const Floats expected{42, -25, 18, -5, -25, 22, -19, -5,  18, -19, 21, -5, -5, -5,  -5, 50,
                        22, -19, -5, 20, -19, 21, -5,  -20, -5, -5,  50, -5, 20, -20, -5, 21};
  OneOp one, other;
  Value x = one.input(DType::fp32, {2, 3, 4}, left);
  EXPECT_EQ(one.numbers(mil::matmul{.x = x, .y = x, .transpose_x = true}), expected);
  Value y = other.input(DType::fp32, {2, 3, 4}, left), z = other.input(DType::fp32, {1, 2, 4}, ramp(8));
  EXPECT_EQ(other.shape(mil::matmul{.x = z, .y = y, .transpose_y = true}), "[2, 2, 3]");
  OneOp vector;
  Value v = vector.input(DType::fp32, {2}, {1, 2});
  EXPECT_EQ(vector.error(mil::matmul{.x = v, .y = v, .transpose_x = true}),
            "x is a vector, which cannot be transposed");
}

TEST(Matmul, AConstantTakesTheOthersDtypeFromIos17On) {
  OneOp one, two, old(iOS16);
  auto result =
      one.run(mil::matmul{.x = one.constant(DType::fp32, {1, 2}, {1, 2}), .y = one.input(DType::fp16, {2, 1}, {3, 4})});
  ASSERT_TRUE(result) << describe(result.error());
  EXPECT_EQ((*result)[0].dtype(), DType::fp16);
  EXPECT_EQ(
      two.error(mil::matmul{.x = two.input(DType::fp32, {1, 2}, {1, 2}), .y = two.input(DType::fp16, {2, 1}, {3, 4})}),
      "x is fp32 and y is fp16; dtypes may differ only when exactly one operand is constant");
  EXPECT_EQ(old.error(mil::matmul{.x = old.constant(DType::fp32, {1, 2}, {1, 2}),
                                  .y = old.input(DType::fp16, {2, 1}, {3, 4})}),
            "input 'y' is fp16, but input 'x' is fp32; they must be equal");
}

TEST(Einsum, KnowsTheOnePattern) {
  Floats x = ramp(12, 7, 0), y = ramp(24, 5, 0, 7);
  OneOp four, three, zero;
  EXPECT_EQ(four.numbers(mil::einsum{
                .values = Values{four.input(DType::fp32, {1, 2, 3, 2}, x), four.input(DType::fp32, {2, 2, 3, 2}, y)},
                .equation = "nchw,nwhu->nchu"}),
            (Floats{13, -16, 10, 4, 9, -8, -12, 8, 6, 8, 7, -16, 1, 7, 1, -19, -6, -2, 4, -4, 9, -17, -10, 2}));
  EXPECT_EQ(three.numbers(
                mil::einsum{.values = Values{three.input(DType::int32, {2, 3, 2}, x),
                                             three.input(DType::int32, {2, 3, 2}, Floats(y.begin(), y.begin() + 12))},
                            .equation = " abc, cbd -> abd"}),
            (Floats{13, -16, 10, 4, 9, -8, -12, 8, 6, 8, 7, -16}));
  auto error = [](std::string equation) {
    OneOp one;
    Value x = one.symbolic(DType::fp32, {2, 3, 2});
    return one.shape(mil::einsum{.values = Values{x, x}, .equation = std::move(equation)});
  };
  EXPECT_EQ(error("chw,whr->chr"), "[2, 3, 2]");
  for (const char* equation : {"chw,whc->chc", "nchw,nwhu->nchu", "chw,hwr->chr", "", "->", "chw,whr", "chw,whr->chrr"})
    EXPECT_EQ(error(equation), std::string("the equation is '") + equation +
                                   "', but for operands of rank 3 only 'chw,whr->chr' is known");
}

}  // namespace
}  // namespace pomona
