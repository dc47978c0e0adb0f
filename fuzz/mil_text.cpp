// Untrusted MIL text; what parses must print to text that parses.
#include <cstdlib>

#include "ir/text.h"
#include "ir/verify.h"
#include "ops/catalogue.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pomona;
  ParseOptions options{.find_op = mil::find_op, .nearest_op = mil::nearest_op};
  auto program = parse_text({reinterpret_cast<const char*>(data), size}, options);
  if (!program) return 0;
  (void)verify(*program);
  (void)parse_text(to_text(*program), options);
  return 0;
}
