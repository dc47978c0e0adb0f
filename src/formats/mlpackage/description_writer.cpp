#include <fmt/format.h>

#include <algorithm>

#include "formats/mlpackage/description.h"
#include "formats/mlpackage/nested.h"

namespace pomona::mlpackage {
namespace {

using protozero::pbf_writer;

std::int64_t array_dtype(DType dtype) {
  switch (dtype) {
    case DType::fp16:
      return 0x10010;
    case DType::fp64:
      return 0x10040;
    case DType::int8:
      return 0x20008;
    case DType::int32:
      return 0x20020;
    default:
      return 0x10020;
  }
}

void add_range(pbf_writer& out, protozero::pbf_tag_type tag, const Feature::Range& range) {
  add_nested(out, tag, [&](pbf_writer& message) {
    if (range.lower != 0) message.add_uint64(1, std::uint64_t(range.lower));
    if (range.upper != 0) message.add_int64(2, range.upper);
  });
}

void add_sizes(pbf_writer& out, protozero::pbf_tag_type tag, const Sizes& sizes) {
  if (!sizes.empty()) out.add_packed_int64(tag, sizes.begin(), sizes.end());
}

void write_default(pbf_writer& out, const Feature& feature) {
  if (!feature.default_value) return;
  if (feature.dtype == DType::int32 || feature.dtype == DType::int8)
    out.add_int32(41, std::int32_t(*feature.default_value));
  else if (feature.dtype == DType::fp64)
    out.add_double(61, *feature.default_value);
  else
    out.add_float(51, float(*feature.default_value));
}

void write_array(pbf_writer& out, const Feature& feature) {
  if (feature.has_shape) add_sizes(out, 1, feature.shape);
  out.add_enum(2, std::int32_t(array_dtype(feature.dtype)));
  if (!feature.enumerated.empty()) {
    pbf_writer shapes(out, 21);
    for (const Sizes& sizes : feature.enumerated) {
      add_nested(shapes, 1, [&](pbf_writer& shape) { add_sizes(shape, 1, sizes); });
    }
  } else if (!feature.ranges.empty()) {
    pbf_writer ranges(out, 31);
    for (const Feature::Range& range : feature.ranges) add_range(ranges, 1, range);
  }
  write_default(out, feature);
}

void write_image(pbf_writer& out, const Feature& feature) {
  out.add_int64(1, feature.shape.at(1));
  out.add_int64(2, feature.shape.at(0));
  out.add_enum(3, feature.color_space);
  if (!feature.enumerated.empty()) {
    pbf_writer sizes(out, 21);
    for (const Sizes& each : feature.enumerated) {
      pbf_writer size(sizes, 1);
      size.add_uint64(1, std::uint64_t(each.at(1)));
      size.add_uint64(2, std::uint64_t(each.at(0)));
    }
  } else if (feature.ranges.size() == 2) {
    pbf_writer ranges(out, 31);
    add_range(ranges, 1, feature.ranges[1]);
    add_range(ranges, 2, feature.ranges[0]);
  }
}

void write_type(pbf_writer& out, const Feature& feature) {
  switch (feature.kind) {
    case Feature::Kind::int64:
      add_empty(out, 1);
      break;
    case Feature::Kind::real:
      add_empty(out, 2);
      break;
    case Feature::Kind::string:
      add_empty(out, 3);
      break;
    case Feature::Kind::image: {
      pbf_writer image(out, 4);
      write_image(image, feature);
      break;
    }
    case Feature::Kind::array: {
      pbf_writer array(out, 5);
      write_array(array, feature);
      break;
    }
    case Feature::Kind::dictionary: {
      pbf_writer dictionary(out, 6);
      add_empty(dictionary, feature.dtype == DType::int64 ? 1 : 2);
      break;
    }
    case Feature::Kind::sequence: {
      pbf_writer sequence(out, 7);
      add_empty(sequence, feature.dtype == DType::int64 ? 1 : 3);
      if (!feature.ranges.empty()) add_range(sequence, 101, feature.ranges[0]);
      break;
    }
  }
  if (feature.optional) out.add_bool(1000, true);
}

void add_feature(pbf_writer& out, protozero::pbf_tag_type tag, const Feature& feature, bool state) {
  pbf_writer message(out, tag);
  message.add_string(1, feature.name);
  if (!feature.description.empty()) message.add_string(2, feature.description);
  pbf_writer type(message, 3);
  if (!state) return write_type(type, feature);
  pbf_writer state_type(type, 8);
  pbf_writer array(state_type, 1);
  write_array(array, feature);
}

struct DescriptionTags {
  protozero::pbf_tag_type input, output, state, predicted_feature, predicted_probabilities;
};
constexpr DescriptionTags model_tags{1, 10, 13, 11, 12}, function_tags{2, 3, 6, 4, 5};

void write_features(pbf_writer& out, const FunctionDescription& function, const DescriptionTags& tags) {
  for (const Feature& feature : function.inputs) add_feature(out, tags.input, feature, false);
  for (const Feature& feature : function.outputs) add_feature(out, tags.output, feature, false);
  for (const Feature& feature : function.states) add_feature(out, tags.state, feature, true);
  if (!function.predicted_feature.empty()) out.add_string(tags.predicted_feature, function.predicted_feature);
  if (!function.predicted_probabilities.empty())
    out.add_string(tags.predicted_probabilities, function.predicted_probabilities);
}

void write_metadata(pbf_writer& model, const Metadata& metadata) {
  pbf_writer out(model, 100);
  const std::string* texts[] = {&metadata.description, &metadata.version, &metadata.author, &metadata.license};
  for (unsigned i = 0; i < 4; ++i)
    if (!texts[i]->empty()) out.add_string(i + 1, *texts[i]);
  for (const auto& [key, value] : metadata.user) {
    pbf_writer entry(out, 100);
    entry.add_string(1, key);
    entry.add_string(2, value);
  }
}

Result<Feature> described_value(Value value, bool is_input) {
  Feature feature;
  feature.name = value.name();
  const Type& type = value.type();
  feature.dtype = type.dtype;
  if (type.kind == Type::Kind::dictionary) {
    feature.kind = Feature::Kind::dictionary;
    feature.dtype = type.key;
    return feature;
  }
  POM_REQUIRE(type.kind != Type::Kind::list, "'{}' is a {}, which a model can neither take nor give", feature.name,
              type.text());
  if (type.rank() == 0 && (type.dtype == DType::string || type.dtype == DType::int64)) {
    feature.kind = type.dtype == DType::string ? Feature::Kind::string : Feature::Kind::int64;
    return feature;
  }
  feature.has_shape = all_known(type.shape);
  if (feature.has_shape) {
    feature.shape = known_sizes(type.shape);
    // Multi-arrays have at least one dimension; a scalar result is described without any.
    if (feature.shape.empty() && is_input) feature.shape = {1};
    return feature;
  }
  if (is_input)
    return fail("input '{}' is {}, and nothing says between which limits its size may vary", feature.name, type.text())
        .advise("give the input a range of sizes, or fix them");
  return feature;
}

// Keeps the features that are there, in their order; adds those of values without one.
Status complete(std::vector<Feature>& features, const Values& values, const char* what) {
  for (Value value : values) {
    bool present = std::ranges::any_of(features, [&](const Feature& f) { return f.name == value.name(); });
    if (!present) features.push_back(POM_TRY(described_value(value, *what != 'o')));
  }
  for (const Feature& feature : features)
    POM_REQUIRE(std::ranges::any_of(values, [&](Value value) { return value.name() == feature.name; }),
                "the description names the {} '{}', which the function does not have", what, feature.name);
  return {};
}

Result<FunctionDescription> described(const Function& function) {
  FunctionDescription description{function.name,
                                  function.inputs,
                                  function.outputs,
                                  function.states,
                                  function.predicted_feature,
                                  function.predicted_probabilities};
  Values inputs, states;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    (input.type().kind == Type::Kind::state ? states : inputs).push_back(input);
  }
  POM_TRY(complete(description.inputs, inputs, "input"));
  POM_TRY(complete(description.states, states, "state"));
  POM_TRY(complete(description.outputs, function.body.results(), "output"));
  return description;
}

}  // namespace

Result<ModelDescription> described(const Program& program) {
  ModelDescription description;
  description.metadata = program.metadata;
  description.default_function = program.default_function;
  if (program.default_function.empty()) {
    description.single = POM_TRY_IN(described(program.main()), "function '{}'", program.main().name);
    return description;
  }
  for (const auto& function : program.functions)
    description.functions.push_back(POM_TRY_IN(described(*function), "function '{}'", function->name));
  return description;
}

std::string description_bytes(const ModelDescription& description) {
  std::string bytes;
  pbf_writer out(bytes);
  if (description.functions.empty()) write_features(out, description.single, model_tags);
  for (const FunctionDescription& function : description.functions) {
    pbf_writer message(out, 20);
    message.add_string(1, function.name);
    write_features(message, function, function_tags);
  }
  if (!description.default_function.empty()) out.add_string(21, description.default_function);
  write_metadata(out, description.metadata);
  return bytes;
}

}  // namespace pomona::mlpackage
