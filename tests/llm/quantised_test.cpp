// Codes that take few values become indices into one table of int8 where a system takes a table before the scales.
#include "llm/quantised.h"

#include <gtest/gtest.h>

#include "ir/evaluate.h"
#include "ops/constexpr.h"

namespace pomona::llm {
namespace {

Quantised with_values(std::vector<std::int8_t> values) {
  Quantised q;
  q.storage = "few";
  q.sizes = {6, 64};
  q.group = 16;
  q.values = values;
  q.what = "few values";
  q.read_codes = [values](std::span<const Tensor>, std::size_t begin, std::size_t count, std::uint8_t* codes) {
    for (std::size_t i = 0; i < count * 64; ++i)
      codes[i] = std::uint8_t(values[((begin * 64 + i) * 2654435761u >> 7) % values.size()]);
  };
  q.read_scales = [](std::span<const Tensor>, std::size_t begin, std::size_t count, float* scales, float*) {
    for (std::size_t i = 0; i < count * 4; ++i) scales[i] = float(begin * 4 + i + 1) / 64;
  };
  return q;
}

TEST(Quantised, HasOneTableBeforeTheScalesFromIOS26) {
  struct Case {
    std::vector<std::int8_t> values;
    DType indices;
  };
  std::vector<std::int8_t> six_bits(64);
  for (int i = 0; i < 64; ++i) six_bits[std::size_t(i)] = std::int8_t(i - 32);
  for (const Case& c : {Case{{-43, -25, -8, 8, 25, 43}, DType::uint3},
                        Case{{-12, -8, -6, -4, -3, -2, -1, 0, 9}, DType::uint4}, Case{six_bits, DType::uint6}}) {
    Quantised q = with_values(c.values);
    for (Target target : {Target::iOS18, Target::iOS26}) {
      auto kept_weight = kept(q, {.target = target, .decoded = DType::fp32});
      ASSERT_TRUE(kept_weight) << describe(kept_weight.error());
      ASSERT_EQ(bool(kept_weight->data), target == Target::iOS26);
      Program program;
      Function& main = program.add_function("main", target);
      Builder g(main);
      Value w = add_encoded(g, *kept_weight, "w");
      ASSERT_TRUE(g.status()) << describe(g.status().error());
      if (kept_weight->data) {
        Value indices = w.producer()->input("data").producer()->input("indices");
        EXPECT_EQ(indices.dtype(), c.indices);
        EXPECT_LT(stored_size(*kept_weight), stored_size(*kept(q, {.target = Target::iOS18, .decoded = DType::fp32})));
      }
      main.body.set_results({w});
      auto got = Evaluation(main)({});
      ASSERT_TRUE(got) << describe(got.error());
      auto right = decoded(q).materialise();
      ASSERT_TRUE(right);
      EXPECT_TRUE((*got)[0].same_bits(*right));
    }
  }
}

}  // namespace
}  // namespace pomona::llm
