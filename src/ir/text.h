// MIL's own text, as compiled Core ML models have it in model.mil, printed and parsed.
//
//   program(1.0)
//   {
//       func main<ios17>(tensor<fp32, [1, ?{n}]> x) {
//           tensor<fp32, [1, ?{n}]> y = leaky_relu(x = x, alpha = fp32(0x1p-3))[name = string("y")];
//       } -> (y);
//   }
//
//   std::string text = to_text(program);
//   Program back = POM_TRY(parse_text(text, {.find_op = mil::find_op}));
//
// Printing what was parsed gives the same text again. Where Core ML's text says nothing, this one says more: unknown
// sizes carry their symbols in braces, attributes stand in place rather than in const ops (both are read), inner blocks
// follow the attributes of their op, and a constant may be ELIDED: it parses, and cannot be computed. The text is the
// program's graph; it has no descriptions of inputs and outputs and no metadata.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "ir/program.h"

namespace pomona {

// A place in a weight file, as BLOBFILE(path, offset) gives it.
struct TextBlob {
  std::string path;
  std::uint64_t offset = 0;
};
struct TextOptions {
  std::size_t elide_above = 64;                             // constants of more elements are left out
  std::function<bool(const Weight&, TextBlob&)> blob = {};  // true: the constant is printed as this place
  bool compiled = false;  // scalars as Core ML's compiler writes them: tensor<fp32, []> in functions older than iOS18
};
std::string to_text(const Function& function, const TextOptions& options = {});
std::string to_text(const Program& program, const TextOptions& options = {});
std::string type_text(const Type& type);

struct ParseOptions {
  const OpDef* (*find_op)(std::string_view name, Target opset) = nullptr;
  std::string (*nearest_op)(std::string_view name) = nullptr;
  std::function<Result<Weight>(const TextBlob&, DType, const Sizes&)> blob = {};
};
// Errors name line and column.
Result<Program> parse_text(std::string_view text, const ParseOptions& options);

}  // namespace pomona
