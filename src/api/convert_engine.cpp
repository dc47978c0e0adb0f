#include "api/convert_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "api/border.h"
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

// Sizes that models are often made for, together in the order in which they are tried.
struct UsualSizes {
  std::vector<std::int64_t> picture;  // height and width
  std::int64_t tokens, samples, rest;
};
const UsualSizes usual_sizes[] = {{{224, 224}, 128, 16000, 64}, {{48, 320}, 77, 8000, 80}, {{640, 640}, 64, 48000, 128},
                                  {{32, 320}, 512, 1024, 32},   {{256, 256}, 32, 512, 16}, {{512, 512}, 16, 480, 1},
                                  {{112, 112}, 1, 160, 256},    {{299, 299}, 8, 80, 512}};

// What goes with the other size of the picture, where that is known.
std::int64_t picture_size(Value input, std::size_t other_axis, std::size_t which, const UsualSizes& usual) {
  Dim other = input.shape()[other_axis];
  if (!other.known()) return usual.picture[which];
  auto fits = [&](const UsualSizes& sizes) { return sizes.picture[1 - which] == other.value(); };
  auto found = std::ranges::find_if(usual_sizes, fits);
  return found == std::end(usual_sizes) ? other.value() : found->picture[which];
}

std::int64_t size_for(Value input, std::size_t axis, const UsualSizes& usual) {
  std::string symbol = ascii_lower(input.shape()[axis].text());
  if (axis == 0 || symbol.find("batch") != std::string::npos) return 1;
  auto [height, width] = picture_axes(input);
  if (height && (axis == height || axis == width))
    return picture_size(input, axis == height ? width : height, axis == height ? 0 : 1, usual);
  for (std::string_view word : {"sample", "audio", "wav"})
    if (symbol.find(word) != symbol.npos || ascii_lower(input.name()).find(word) != std::string::npos)
      return usual.samples;
  return is_float(input.dtype()) ? usual.rest : usual.tokens;
}

// What a package says itself; a picture has its last two sizes only.
std::int64_t default_size(const Feature& feature, std::size_t axis, std::size_t rank) {
  std::size_t at = axis + feature.shape.size() - rank;
  return at < feature.shape.size() ? feature.shape[at] : 1;
}

// The shapes of inputs that leave a size open, with a sentence for each size. `defaults`: the inputs' own.
std::map<std::string, Sizes> shapes_for(const Function& function, const BorderRequest& request, const UsualSizes& usual,
                                        bool defaults, std::vector<std::string>& said) {
  std::map<std::string, Sizes> shapes;
  std::map<std::string, std::int64_t> chosen;  // by symbol, which inputs may share
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    bool asked = request.ranges.count(input.name()) || request.enumerated.count(input.name());
    if (asked || input.type().kind != Type::Kind::tensor || all_known(input.shape())) continue;
    const Feature* own = defaults ? find_feature(function.inputs, input.name()) : nullptr;
    Sizes shape;
    for (std::size_t axis = 0; axis < input.rank(); ++axis) {
      const Dim& dim = input.shape()[axis];
      if (dim.known()) {
        shape.push_back(dim.value());
        continue;
      }
      auto [at, fresh] =
          chosen.try_emplace(dim.text(), own ? default_size(*own, axis, input.rank()) : size_for(input, axis, usual));
      shape.push_back(at->second);
      if (fresh)
        said.push_back(fmt::format("for the Neural Engine: size '{}' of '{}' is fixed at {}; --input chooses another",
                                   dim.text(), input.name(), at->second));
    }
    shapes[input.name()] = shape;
  }
  return shapes;
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

Result<Fixed> fix_sizes(Model model, const std::string& source, OpenOptions& open, BorderRequest& request) {
  std::optional<Error> first;
  std::map<std::string, Sizes> before;
  for (UsualSizes usual : usual_sizes) {
    if (auto noted = noted_picture(model.program.metadata); !noted.empty()) usual.picture = noted;
    Fixed fixed;
    std::map<std::string, Sizes> shapes =
        shapes_for(model.program.main(), request, usual, is_core_ml(model), fixed.said);
    if (shapes.empty()) return Fixed{std::move(model), {}};
    if (shapes == before) continue;
    before = shapes;
    OpenOptions with = open;
    for (const auto& [name, shape] : shapes) with.shapes[name] = shape;
    auto again = open_model(source, with);
    if (again) {
      request.shapes = open.shapes = with.shapes;
      fixed.model = std::move(*again);
      return fixed;
    }
    if (!first) first = std::move(again).error();
  }
  return std::move(*first).advise("give its sizes with --input: they were chosen for the Neural Engine");
}

}  // namespace pomona::api
