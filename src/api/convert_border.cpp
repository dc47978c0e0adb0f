#include "api/convert_border.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <set>
#include <sstream>

#include "api/border.h"
#include "api/detector.h"
#include "api/tensors.h"
#include "ir/border.h"
#include "ir/builder.h"
#include "ops/classify.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::api {
namespace {

// Core ML refuses sizes without bounds, so one that nobody bounded gets these.
constexpr Feature::Range default_range{1, 512};
// A size inside default_range that is not degenerate, and that networks with strides accept.
constexpr std::int64_t default_size = 64;
// The size of an axis with bounds when nobody says which: what a package starts with and is verified at. A batch is as
// small as it may be; one element along any other axis would hide what happens between elements.
std::int64_t usual_size(const Feature::Range& range, std::size_t axis) {
  if (axis == 0) return range.lower;
  for (std::int64_t size : {default_size, default_size / 2})
    if (size >= range.lower && size <= range.upper) return size;
  return range.lower > default_size ? range.lower : range.upper;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find(separator, begin)) != text.npos; begin = end + 1)
    parts.push_back(text.substr(begin, end - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

Result<std::int64_t> integer(const std::string& text) {
  std::int64_t value = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  POM_REQUIRE(failed == std::errc() && end == text.data() + text.size() && value > 0 && value < (std::int64_t(1) << 31),
              "'{}' is no size", text);
  return value;
}

Result<double> real(const std::string& text) {
  char* end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  POM_REQUIRE(!text.empty() && *end == 0, "'{}' is no number", text);
  return value;
}

Result<Sizes> sizes_from(const std::string& text) {
  Sizes sizes;
  if (text.empty()) return sizes;
  for (const std::string& part : split(text, 'x')) sizes.push_back(part == "?" ? -1 : POM_TRY(integer(part)));
  return sizes;
}

Result<Feature::Range> range_from(const std::string& text) {
  std::size_t dots = text.find("..");
  if (dots == text.npos) {
    std::int64_t size = POM_TRY(integer(text));
    return Feature::Range{size, size};
  }
  Feature::Range range{POM_TRY(integer(text.substr(0, dots))), -1};
  POM_REQUIRE(dots + 2 < text.size(), "'{}' has no upper bound, and Core ML needs one", text);
  range.upper = POM_TRY(integer(text.substr(dots + 2)));
  POM_REQUIRE(range.lower <= range.upper, "'{}' ends before it begins", text);
  return range;
}

Status take_input(BorderRequest& request, const std::string& option) {
  auto [name, value] = POM_TRY(split_assignment(option, "--input"));
  std::vector<std::string> parts = split(value, ':');
  POM_REQUIRE(parts.size() <= 2, "'{}' has more than one ':'", value);
  if (parts.size() == 2) {
    auto dtype = source_dtype(parts[1]);
    POM_REQUIRE(dtype && (*dtype == DType::fp32 || *dtype == DType::fp16 || *dtype == DType::int32),
                "an input may be fp32, fp16 or int32, not '{}'", parts[1]);
    request.dtypes[name] = *dtype;
  }
  if (!parts[0].empty()) request.shapes[name] = POM_TRY(sizes_from(parts[0]));
  return {};
}

Status take_ranges(BorderRequest& request, const std::string& option) {
  auto [name, value] = POM_TRY(split_assignment(option, "--dynamic"));
  std::vector<Feature::Range>& ranges = request.ranges[name];
  Sizes shape;
  for (const std::string& part : split(value, 'x')) {
    ranges.push_back(POM_TRY(range_from(part)));
    shape.push_back(ranges.back().lower == ranges.back().upper ? ranges.back().lower : -1);
  }
  request.shapes[name] = shape;
  return {};
}

// Numbers in a row, or a file of them.
Status take_constant(BorderRequest& request, const std::string& option) {
  auto [name, value] = POM_TRY(split_assignment(option, "--constant"));
  if (value.ends_with(".npy")) {
    request.constants[name] = POM_TRY(read_tensor_file(value)).begin()->second;
    return {};
  }
  std::vector<double> numbers;
  bool whole = true;
  for (const std::string& part : split(value, ',')) {
    numbers.push_back(POM_TRY(real(part)));
    whole = whole && part.find_first_of(".eEnN") == part.npos;
  }
  request.constants[name] =
      Tensor::from_numbers(whole ? DType::int64 : DType::fp32, {std::int64_t(numbers.size())}, numbers);
  return {};
}

Status take_enumeration(BorderRequest& request, const std::string& option) {
  auto [name, value] = POM_TRY(split_assignment(option, "--enumerate"));
  std::vector<Sizes>& all = request.enumerated[name];
  for (const std::string& part : split(value, ',')) {
    all.push_back(POM_TRY(sizes_from(part)));
    POM_REQUIRE(std::find(all.back().begin(), all.back().end(), -1) == all.back().end(), "'{}' leaves a size open",
                part);
    POM_REQUIRE(all.back().size() == all.front().size(), "'{}' and '{}' have different ranks", split(value, ',')[0],
                part);
  }
  Sizes shape = all.front();
  for (const Sizes& sizes : all)
    for (std::size_t d = 0; d < shape.size(); ++d)
      if (sizes[d] != shape[d]) shape[d] = -1;
  request.shapes[name] = shape;
  return {};
}

std::size_t channels_of(const PictureRequest& picture) {
  return picture.color_space == 10 || picture.color_space == 40 ? 1 : 3;
}

Status take_picture(BorderRequest& request, const std::string& option) {
  auto [name, value] = POM_TRY(split_assignment(option, "--image"));
  PictureRequest& picture = request.pictures[name];
  std::size_t colon = value.find(':');
  std::string colours = value.substr(0, colon);
  if (colours == "rgb")
    picture.color_space = 20;
  else if (colours == "bgr")
    picture.color_space = 30;
  else if (colours == "gray")
    picture.color_space = 10;
  else if (colours == "gray-fp16")
    picture.color_space = 40;
  else
    return fail("pictures are rgb, bgr, gray or gray-fp16, not '{}'", colours);
  std::string key;
  if (colon != value.npos)
    for (std::string part : split(value.substr(colon + 1), ',')) {
      if (std::size_t equals = part.find('='); equals != part.npos) {
        key = part.substr(0, equals);
        part = part.substr(equals + 1);
      }
      POM_REQUIRE(key == "scale" || key == "bias", "'{}' is neither scale nor bias", key.empty() ? part : key);
      double number = POM_TRY(real(part));
      (key == "scale" ? picture.scale : picture.bias).push_back(number);
    }
  std::size_t channels = channels_of(picture);
  for (const auto* numbers : {&picture.scale, &picture.bias})
    POM_REQUIRE(numbers->size() <= 1 || numbers->size() == channels, "{} numbers are given for {} channels",
                numbers->size(), channels);
  // A picture is one picture.
  request.shapes.try_emplace(name, Sizes{1, -1, -1, -1});
  return {};
}

// "boxes=NAME,scores=NAME,max=100,iou=0.45,confidence=0.25,corners,pixels=640:640"
Result<DetectorRequest> detector_from(const std::string& text) {
  DetectorRequest request;
  for (const std::string& part : split(text, ',')) {
    std::size_t equals = part.find('=');
    std::string key = part.substr(0, equals), value = equals == part.npos ? "" : part.substr(equals + 1);
    if (key == "boxes" && !value.empty()) {
      request.boxes = value;
    } else if (key == "scores" && !value.empty()) {
      request.scores = value;
    } else if (key == "max") {
      request.most = int(POM_TRY(integer(value)));
      POM_REQUIRE(request.most <= 10000, "'max' is {}", request.most);
    } else if (key == "iou") {
      request.overlap = POM_TRY(real(value));
    } else if (key == "confidence") {
      request.confidence = POM_TRY(real(value));
    } else if (key == "corners" && equals == part.npos) {
      request.corners = true;
    } else if (key == "pixels") {
      auto sizes = split(value, ':');
      POM_REQUIRE(sizes.size() == 2, "'pixels' takes WIDTH:HEIGHT, not '{}'", value);
      request.width = double(POM_TRY(integer(sizes[0])));
      request.height = double(POM_TRY(integer(sizes[1])));
    } else {
      return fail("'{}' is none of boxes=, scores=, max=, iou=, confidence=, corners, pixels=", part);
    }
  }
  POM_REQUIRE(!request.boxes.empty(), "boxes= is missing");
  return request;
}

Status take_custom_op(BorderRequest& request, const std::string& option) {
  auto [name, path] = POM_TRY(split_assignment(option, "--custom-op"));
  request.custom_ops[name] = {std::string(POM_TRY(map_file(path)).text()), {}};
  return {};
}

Result<Strings> labels_from(const std::string& path) {
  std::istringstream file{std::string(POM_TRY_IN(map_file(path), "--classes").text())};
  Strings labels;
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) labels.push_back(line);
  }
  POM_REQUIRE(!labels.empty(), "the file of labels '{}' is empty", path);
  return labels;
}

Result<Value> input_named(Function& function, const std::string& name, std::string_view option) {
  std::string names;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    if (function.body.input(i).name() == name) return function.body.input(i);
    names += (names.empty() ? "" : ", ") + function.body.input(i).name();
  }
  return fail("{} names '{}', but the inputs are: {}", option, name, names);
}

Feature& feature_of(Function& function, Value input) {
  for (Feature& feature : function.inputs)
    if (feature.name == input.name()) return feature;
  Feature& feature = function.inputs.emplace_back();
  feature.name = input.name();
  feature.dtype = input.dtype();
  return feature;
}

// Puts nodes behind an input: its users use the result of `make` instead.
template <class Make>
Status insert_behind(Function& function, Value input, const Make& make) {
  std::vector<Node*> users = input.users();
  auto& nodes = function.body.nodes();
  Builder g(function.body, nodes.empty() ? nullptr : nodes.front().get());
  Value value = make(g);
  POM_TRY_IN(Status(g.status()), "input '{}'", input.name());
  for (Node* user : users)
    for (std::size_t i = 0; i < user->inputs().size(); ++i)
      if (user->inputs()[i] == input) user->set_input(i, value);
  return {};
}

// One number, or one per channel of [1, C, H, W].
Value per_channel(Builder& g, DType dtype, const std::vector<double>& numbers) {
  if (numbers.size() == 1) return g.scalar(dtype, numbers[0]);
  return g.constant(Tensor::from_numbers(dtype, {1, std::int64_t(numbers.size()), 1, 1}, numbers));
}
Value scaled(Builder& g, Value value, const PictureRequest& request, const std::string& name) {
  if (!request.scale.empty() && request.scale != std::vector<double>{1})
    value = g.add(mil::mul{.x = value, .y = per_channel(g, value.dtype(), request.scale)}, name + "_scaled");
  if (!request.bias.empty())
    value = g.add(mil::add{.x = value, .y = per_channel(g, value.dtype(), request.bias)}, name + "_biased");
  return value;
}

void become_picture(Feature& feature, const PictureRequest& request, bool channels_last) {
  feature.kind = Feature::Kind::image;
  feature.color_space = request.color_space;
  auto without_channels = [&](auto& list) {
    if (list.size() != 4) return;
    if (channels_last) list.erase(list.begin() + 3);
    list.erase(list.begin(), list.begin() + (channels_last ? 1 : 2));
  };
  without_channels(feature.shape);
  without_channels(feature.ranges);
  for (Sizes& sizes : feature.enumerated) without_channels(sizes);
}

Result<bool> has_channels_last(Value value, const PictureRequest& request, std::string_view what) {
  auto channels = std::int64_t(channels_of(request));
  POM_REQUIRE(is_float(value.dtype()), "{} '{}' holds {}, a picture needs fp32 or fp16", what, value.name(),
              name(value.dtype()));
  bool fits = value.rank() == 4 && value.shape()[0] == 1;
  if (fits && value.shape()[1] == channels) return false;
  POM_REQUIRE(fits && value.shape()[3] == channels,
              "{} '{}' is {}, but a picture of that kind needs [1, {}, height, width] or [1, height, width, {}]", what,
              value.name(), to_string(value.shape()), channels, channels);
  return true;
}

Status make_picture(Function& function, Value input, const PictureRequest& request) {
  POM_REQUIRE(request.color_space != 40 || function.opset >= Target::iOS16, "gray-fp16 needs iOS16 or later");
  if (input.rank() == 4 && !input.shape()[0].known())
    return fail("input '{}' takes {} pictures at once; --input {}=1x... makes it one", input.name(),
                input.shape()[0].text(), input.name());
  bool last = POM_TRY(has_channels_last(input, request, "input"));
  become_picture(feature_of(function, input), request, last);
  feature_of(function, input).has_shape = true;
  if (last) {
    Shape& shape = input.info().type.shape;
    shape = {shape[0], shape[3], shape[1], shape[2]};
  }
  bool plain = (request.scale.empty() || request.scale == std::vector<double>{1}) && request.bias.empty();
  if (plain && !last) return {};
  return insert_behind(function, input, [&](Builder& g) {
    Value value = scaled(g, input, request, input.name());
    return last ? g.add(mil::transpose{.x = value, .perm = Ints{0, 2, 3, 1}}, input.name() + "_channels_last") : value;
  });
}

// What is shown must be 0 to 255: scale and bias lead there, and what is outside is cut off.
Status make_output_picture(Function& function, Value output, const PictureRequest& request) {
  POM_REQUIRE(request.color_space != 40 || function.opset >= Target::iOS16, "gray-fp16 needs iOS16 or later");
  bool last = POM_TRY(has_channels_last(output, request, "output"));
  Builder g(function);
  std::string own = output.name();
  output.set_name(own + "_numbers");
  Value value = last ? g.add(mil::transpose{.x = output, .perm = Ints{0, 3, 1, 2}}, own + "_channels_first") : output;
  value = scaled(g, value, request, own);
  if (request.color_space != 40) value = g.add(mil::clip{.x = value, .alpha = 0.0, .beta = 255.0}, own + "_in_range");
  value = g.add(mil::identity{.x = value}, own);
  POM_TRY_IN(Status(g.status()), "output '{}'", own);
  Values results = function.body.results();
  std::replace(results.begin(), results.end(), output, value);
  function.body.set_results(std::move(results));
  for (Feature& feature : function.outputs) {
    if (feature.name != own) continue;
    become_picture(feature, request, last);
    // An image has sizes; unknown ones get a default.
    if (feature.shape.empty())
      for (std::size_t d = 2; d < 4; ++d)
        feature.shape.push_back(value.shape()[d].known() ? value.shape()[d].value() : default_size);
    feature.has_shape = true;
  }
  return {};
}

Status make_pictures(Function& function, const std::map<std::string, PictureRequest>& pictures) {
  for (const auto& [name, picture] : pictures) {
    Value output;
    for (Value result : function.body.results())
      if (result.name() == name) output = result;
    if (output && !function.body.input(name))
      POM_TRY(make_output_picture(function, output, picture));
    else
      POM_TRY(make_picture(function, POM_TRY(input_named(function, name, "--image")), picture));
  }
  return {};
}

Status make_dtype(Function& function, Value input, DType wanted) {
  DType inside = input.dtype();
  if (wanted == inside) return {};
  feature_of(function, input).dtype = wanted;
  input.info().type.dtype = wanted;
  return insert_behind(function, input, [&](Builder& g) {
    return g.add(mil::cast{.x = input, .dtype = std::string(name(inside))}, input.name() + "_cast");
  });
}

// The bounds of every open size: one for all inputs that share it.
class Ranges {
 public:
  Ranges(const BorderRequest& request, Function& function, std::vector<std::string>& said)
      : request_(request), function_(function), said_(said) {}

  Status run() {
    for (const auto& [name, ranges] : request_.ranges) POM_TRY(take(name, ranges));
    for (std::size_t i = 0; i < function_.body.input_count(); ++i) {
      Value input = function_.body.input(i);
      bool open = input.type().kind == Type::Kind::tensor && !all_known(input.shape());
      if (open && !is_bounded(input)) POM_TRY(bound(input));
    }
    return {};
  }

 private:
  // Whether the model itself says which sizes it takes (a package does), and nobody asked for others.
  bool is_bounded(Value input) const {
    if (request_.ranges.count(input.name())) return false;
    for (const Feature& feature : function_.inputs)
      if (feature.name == input.name()) return !feature.ranges.empty() || !feature.enumerated.empty();
    return false;
  }
  struct Bounds {
    Feature::Range range;
    std::int64_t size;
  };

  Status take(const std::string& name, const std::vector<Feature::Range>& ranges) {
    Value input = POM_TRY(input_named(function_, name, "--dynamic"));
    POM_REQUIRE(ranges.size() == input.rank(), "--dynamic gives '{}' rank {}, but it has rank {}", name, ranges.size(),
                input.rank());
    for (std::size_t d = 0; d < ranges.size(); ++d) {
      const Dim& dim = input.shape()[d];
      if (dim.known()) {
        POM_REQUIRE(ranges[d].lower == dim.value() && ranges[d].upper == dim.value(),
                    "--dynamic gives axis {} of '{}' the bounds {}..{}, but the model has it fixed at {}", d, name,
                    ranges[d].lower, ranges[d].upper, dim.value());
        continue;
      }
      auto [at, fresh] = bounds_.try_emplace(dim.text(), Bounds{ranges[d], usual_size(ranges[d], d)});
      POM_REQUIRE(fresh || at->second.range == ranges[d], "size '{}' is given two different bounds", dim.text());
    }
    return {};
  }

  Status bound(Value input) {
    Feature& feature = feature_of(function_, input);
    auto listed = request_.enumerated.find(input.name());
    if (listed != request_.enumerated.end()) {
      feature.enumerated = listed->second;
      feature.shape = listed->second.front();
      feature.has_shape = true;
      return {};
    }
    feature.ranges.clear();
    feature.shape.clear();
    feature.has_shape = true;
    for (std::size_t d = 0; d < input.rank(); ++d) {
      Dim dim = input.shape()[d];
      if (dim.known()) {
        feature.ranges.push_back({dim.value(), dim.value()});
        feature.shape.push_back(dim.value());
        continue;
      }
      auto [at, fresh] = bounds_.try_emplace(dim.text(), Bounds{default_range, usual_size(default_range, d)});
      if (fresh)
        said_.push_back(fmt::format("size '{}' of input '{}' has no bounds and gets {}..{}", dim.text(), input.name(),
                                    default_range.lower, default_range.upper));
      feature.ranges.push_back(at->second.range);
      feature.shape.push_back(at->second.size);
    }
    return {};
  }

  const BorderRequest& request_;
  Function& function_;
  std::vector<std::string>& said_;
  std::map<std::string, Bounds> bounds_;
};

Status classify(Function& function, const Strings& labels) {
  Values results = function.body.results();
  POM_REQUIRE(!results.empty(), "the model has no output to classify by");
  Builder g(function);
  Value probabilities = results[0];
  if (probabilities.dtype() == DType::fp16)
    probabilities = g.add(mil::cast{.x = probabilities, .dtype = std::string("fp32")});
  Values made = g.add_all(mil::classify{.probabilities = probabilities, .classes = IntsOrStrings(labels)});
  POM_TRY_IN(Status(g.status()), "making a classifier of output '{}'", results[0].name());
  made[0].set_name("classLabel");
  made[1].set_name("classLabel_probs");
  std::erase_if(function.outputs, [&](const Feature& f) { return f.name == results[0].name(); });
  results.erase(results.begin());
  results.insert(results.begin(), made.begin(), made.end());
  function.body.set_results(std::move(results));
  function.class_labels = labels;
  function.predicted_feature = "classLabel";
  function.predicted_probabilities = "classLabel_probs";
  return {};
}

// Core ML's rules: shapes of several inputs go together one by one.
Status check_enumerations(const BorderRequest& request, Function& function) {
  constexpr std::size_t most_shapes = 128;
  std::size_t count = 0;
  for (const auto& [name, shapes] : request.enumerated) {
    POM_TRY(input_named(function, name, "--enumerate"));
    POM_REQUIRE(shapes.size() <= most_shapes, "--enumerate gives '{}' {} shapes, but Core ML takes {} at most", name,
                shapes.size(), most_shapes);
    POM_REQUIRE(count == 0 || count == shapes.size(),
                "--enumerate gives '{}' {} shapes and another input {}; they are paired one by one", name,
                shapes.size(), count);
    count = shapes.size();
  }
  POM_REQUIRE(request.enumerated.size() <= 1 || function.opset >= Target::iOS18,
              "enumerated shapes of several inputs need iOS18 or later");
  return {};
}

Status describe_features(std::vector<Feature>& features, const std::map<std::string, std::string>& descriptions,
                         std::string_view option) {
  for (const auto& [name, text] : descriptions) {
    auto at = std::find_if(features.begin(), features.end(), [&](const Feature& f) { return f.name == name; });
    POM_REQUIRE(at != features.end(), "{} names '{}', which the model does not have", option, name);
    at->description = text;
  }
  return {};
}

}  // namespace

Result<std::pair<std::string, std::string>> split_assignment(const std::string& text, std::string_view option) {
  std::size_t equals = text.find('=');
  POM_REQUIRE(equals != text.npos && equals > 0, "{} takes name=value, not '{}'", option, text);
  return std::pair(text.substr(0, equals), text.substr(equals + 1));
}

Result<Dim::Bindings> sizes_from(const Function& function, const Strings& options) {
  Dim::Bindings sizes;
  for (const std::string& option : options) {
    auto [name, text] = POM_TRY(split_assignment(option, "--size"));
    auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), sizes[name]);
    POM_REQUIRE(failed == std::errc() && end == text.data() + text.size() && sizes[name] > 0,
                "--size {}: '{}' is no size", option, text);
  }
  std::set<std::string> known;
  for (std::size_t i = 0; i < function.body.input_count(); ++i)
    for (Dim dim : function.body.input(i).shape())
      for (const std::string& symbol : dim.symbols()) known.insert(symbol);
  for (const auto& [name, size] : sizes)
    POM_REQUIRE(known.count(name), "--size names '{}', but the sizes that are left open are: {}", name,
                known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", ")));
  return sizes;
}

Result<BorderRequest> border_request(const ConvertOptions& options) {
  BorderRequest request;
  for (const std::string& each : *options.input) POM_TRY_IN(take_input(request, each), "--input {}", each);
  for (const std::string& each : *options.dynamic) POM_TRY_IN(take_ranges(request, each), "--dynamic {}", each);
  for (const std::string& each : *options.enumerate)
    POM_TRY_IN(take_enumeration(request, each), "--enumerate {}", each);
  for (const std::string& each : *options.constant) POM_TRY_IN(take_constant(request, each), "--constant {}", each);
  for (const std::string& each : *options.image) POM_TRY_IN(take_picture(request, each), "--image {}", each);
  request.custom_ops = options.custom_bodies;
  for (const std::string& each : *options.custom_op) POM_TRY_IN(take_custom_op(request, each), "--custom-op {}", each);
  if (!options.detector->empty())
    request.detector = POM_TRY_IN(detector_from(options.detector), "--detector {}", *options.detector);
  if (!options.classes->empty()) request.labels = POM_TRY(labels_from(options.classes));
  for (const std::string& each : *options.input_description)
    request.input_descriptions.insert(POM_TRY(split_assignment(each, "--input-description")));
  for (const std::string& each : *options.output_description)
    request.output_descriptions.insert(POM_TRY(split_assignment(each, "--output-description")));
  return request;
}

Result<std::vector<std::string>> apply(const BorderRequest& request, Program& program) {
  Function& function = program.main();
  std::vector<std::string> said;
  for (const auto& [name, dtype] : request.dtypes)
    POM_TRY(make_dtype(function, POM_TRY(input_named(function, name, "--input")), dtype));
  POM_TRY(check_enumerations(request, function));
  POM_TRY(Ranges(request, function, said).run());
  POM_TRY(make_pictures(function, request.pictures));
  if (request.detector) POM_TRY(add_detector(function, *request.detector));
  if (!request.labels.empty()) POM_TRY(classify(function, request.labels));
  POM_TRY(describe_features(function.inputs, request.input_descriptions, "--input-description"));
  POM_TRY(describe_features(function.outputs, request.output_descriptions, "--output-description"));
  return said;
}

}  // namespace pomona::api
