#include "api/convert_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/ascii.h"
#include "silicon/chips.h"

namespace pomona::api {
namespace {

// "imgsz: [320, 320]", as exporters of detectors note it: the sizes of a picture.
std::vector<std::int64_t> noted_picture(const Metadata& metadata) {
  std::vector<std::int64_t> sizes;
  auto noted = metadata.user.find("imgsz");
  if (noted == metadata.user.end()) return sizes;
  for (const char* at = noted->second.c_str(); *at;) {
    char* end = nullptr;
    long long size = std::strtoll(at, &end, 10);
    if (end == at) {
      ++at;
      continue;
    }
    if (size > 0) sizes.push_back(size);
    at = end;
  }
  return sizes.size() == 2 ? sizes : std::vector<std::int64_t>();
}

// Which axes of a picture are its height and width; {0, 0} when it is none.
std::pair<std::size_t, std::size_t> picture_axes(Value input) {
  if (input.rank() != 4 || !is_float(input.dtype())) return {0, 0};
  Dim last = input.shape()[3];
  return last.known() && last.value() <= 4 ? std::pair<std::size_t, std::size_t>{1, 2}
                                           : std::pair<std::size_t, std::size_t>{2, 3};
}

std::int64_t size_for(Value input, std::size_t axis, const std::vector<std::int64_t>& picture) {
  constexpr std::int64_t usual_picture = 224, usual_tokens = 128, usual_samples = 16000, usual = 64;
  std::string symbol = ascii_lower(input.shape()[axis].text());
  if (axis == 0 || symbol.find("batch") != std::string::npos) return 1;
  auto [height, width] = picture_axes(input);
  if (height && (axis == height || axis == width))
    return picture.empty() ? usual_picture : picture[axis == height ? 0 : 1];
  for (std::string_view word : {"sample", "audio", "wav"})
    if (symbol.find(word) != symbol.npos || ascii_lower(input.name()).find(word) != std::string::npos)
      return usual_samples;
  return is_float(input.dtype()) ? usual : usual_tokens;
}

}  // namespace

Result<std::optional<rewrite::EngineLimits>> engine_limits(const ConvertOptions& options) {
  const std::string& engine = options.engine;
  POM_REQUIRE(engine.empty() || engine == "ane" || engine == "gpu", "--for is ane or gpu, not '{}'", engine);
  if (engine != "ane") return std::optional<rewrite::EngineLimits>();
  rewrite::EngineLimits limits;
  limits.axis = silicon::ane_axis_limit(silicon::chips().front());
  return std::optional(limits);
}

std::vector<std::string> fix_sizes(const Model& model, BorderRequest& request) {
  std::vector<std::string> said;
  const Function& function = model.program.main();
  std::vector<std::int64_t> picture = noted_picture(model.program.metadata);
  std::map<std::string, std::int64_t> chosen;  // by symbol, which inputs may share
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    bool asked = request.ranges.count(input.name()) || request.enumerated.count(input.name());
    if (asked || input.type().kind != Type::Kind::tensor || all_known(input.shape())) continue;
    Sizes shape;
    for (std::size_t axis = 0; axis < input.rank(); ++axis) {
      const Dim& dim = input.shape()[axis];
      if (dim.known()) {
        shape.push_back(dim.value());
        continue;
      }
      auto [at, fresh] = chosen.try_emplace(dim.text(), size_for(input, axis, picture));
      shape.push_back(at->second);
      if (fresh)
        said.push_back(fmt::format("for the Neural Engine: size '{}' of '{}' is fixed at {}; --input chooses another",
                                   dim.text(), input.name(), at->second));
    }
    request.shapes[input.name()] = shape;
  }
  return said;
}

}  // namespace pomona::api
