#include "base/error.h"

#include <gtest/gtest.h>

namespace pomona {
namespace {

Result<int> inner(bool good) {
  POM_REQUIRE(good, "found {}", 3);
  return 4;
}
Result<int> outer(bool good) { return POM_TRY_IN(inner(good), "op '{}'", "x") + 1; }

TEST(Error, ValuesAndPlacesTravel) {
  EXPECT_EQ(*outer(true), 5);
  auto bad = outer(false);
  ASSERT_FALSE(bad);
  EXPECT_EQ(describe(std::move(bad).error().in("file 'a'").advise("another")),
            "error: found 3\n  at file 'a'\n  at op 'x'\n  try: another");
}

}  // namespace
}  // namespace pomona
