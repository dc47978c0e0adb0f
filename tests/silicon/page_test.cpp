#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "report/page.h"
#include "report/plan_page.h"

namespace pomona::report {
namespace {

TEST(Page, TextCannotEscapeItsPlace) {
  EXPECT_EQ(escaped("<b> & \"x\""), "&lt;b&gt; &amp; &quot;x&quot;");
  EXPECT_EQ(inside_script(R"({"a": "</script>"})"), R"({"a": "\u003c/script>"})");
}

TEST(Page, TenThousandOperationsStaySmall) {
  Program program;
  Function& function = program.add_function("main", Target::iOS18);
  Value x = function.body.add_input("x", tensor_type(DType::fp16, {1, 64, 32, 32}));
  Builder g(function);
  Value y = x;
  for (int i = 0; i < 5000; ++i)
    y = g.add(mil::add{.x = g.add(mil::relu{.x = y}), .y = x}, "</script>" + std::to_string(i));
  ASSERT_TRUE(g.status());
  function.body.set_results({y});
  silicon::PlaceOptions options;
  options.chip = silicon::find_chip("M4");
  auto placement = silicon::place(function, options);
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->ops.size(), 10000u);
  std::string html = plan_page("a <title>", *placement, "M4");
  EXPECT_LT(html.size(), 5'000'000u);
  EXPECT_EQ(html.find("</script>0"), std::string::npos);
  EXPECT_NE(html.find("a &lt;title>"), 0u);
  EXPECT_EQ(html.find("http://"), std::string::npos);
}

}  // namespace
}  // namespace pomona::report
