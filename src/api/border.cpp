#include "api/border.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "api/model.h"
#include "ir/border.h"

namespace pomona::api {
namespace {

struct Spelling {
  std::string_view spelled;
  DType dtype;
};
// Names that source formats have and MIL does not.
constexpr Spelling spellings[] = {{"float", DType::fp32},
                                  {"double", DType::fp64},
                                  {"float16", DType::fp16},
                                  {"float32", DType::fp32},
                                  {"float64", DType::fp64},
                                  {"bfloat16", DType::bf16},
                                  {"float8e4m3fn", DType::f8e4m3fn},
                                  {"float8e5m2", DType::f8e5m2},
                                  {"bool", DType::boolean}};

std::string input_names(const Program& program, const Function& function) {
  std::string names;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    if (input.type().kind == Type::Kind::state) continue;
    names += fmt::format("{}'{}' ({})", names.empty() ? "" : ", ", source_name(program, true, input.name()),
                         input.type().text());
  }
  return names;
}

// The values in the dtype of the program; an error when one is not representable there.
Result<Tensor> adapted(const Tensor& tensor, DType wanted) {
  DType given = tensor.dtype();
  if (given == wanted) return tensor;
  POM_REQUIRE(given != DType::string && wanted != DType::string, "it holds {}, the model takes {}", name(given),
              name(wanted));
  if (is_float(wanted)) {
    for (std::size_t i = 0; given == DType::fp64 && i < tensor.count(); ++i)
      if (double v = tensor.number(i); std::isfinite(v) && std::fabs(v) > std::numeric_limits<float>::max())
        return fail("element {} is {}, which is beyond fp32, the widest type that Core ML has", i, v);
    return tensor.converted(wanted);
  }
  double lowest = lowest_value(wanted), highest = highest_value(wanted);
  std::vector<double> values = tensor.numbers();
  for (std::size_t i = 0; i < values.size(); ++i) {
    POM_REQUIRE(values[i] == std::floor(values[i]), "element {} is {}, but the model takes {}", i, values[i],
                name(wanted));
    POM_REQUIRE(values[i] >= lowest && values[i] <= highest, "element {} is {}, outside of {} ({} to {})", i, values[i],
                name(wanted), lowest, highest);
  }
  return tensor.converted(wanted);
}

Result<Tensor> adapted(const Tensor& given, Value input) {
  Tensor tensor = POM_TRY(adapted(given, input.dtype()));
  // Rank 0 and [1] are each other's border forms.
  if (tensor.rank() == 0 && input.rank() == 1 && input.shape()[0] == 1) tensor = tensor.reshaped({1});
  if (tensor.count() == 1 && tensor.rank() == 1 && input.rank() == 0) tensor = tensor.reshaped({});
  POM_REQUIRE(tensor.rank() == input.rank(), "it is {}, but the model takes {}", tensor.type().text(),
              input.type().text());
  for (std::size_t d = 0; d < tensor.rank(); ++d)
    POM_REQUIRE(!input.shape()[d].known() || input.shape()[d].value() == tensor.sizes()[d],
                "it is {}, but the model takes {}", tensor.type().text(), input.type().text());
  return tensor;
}

Status check_range(const Tensor& tensor, const Feature& feature) {
  if (feature.kind == Feature::Kind::image) return {};
  if (!feature.enumerated.empty() &&
      std::find(feature.enumerated.begin(), feature.enumerated.end(), tensor.sizes()) == feature.enumerated.end()) {
    std::string allowed;
    for (const Sizes& sizes : feature.enumerated) allowed += (allowed.empty() ? "" : ", ") + to_string(sizes);
    return fail("its shape {} is none of the allowed ones: {}", to_string(tensor.sizes()), allowed);
  }
  for (std::size_t d = 0; d < std::min(feature.ranges.size(), tensor.rank()); ++d) {
    const Feature::Range& range = feature.ranges[d];
    std::int64_t size = tensor.sizes()[d];
    POM_REQUIRE(size >= range.lower && (range.upper < 0 || size <= range.upper),
                "its size along axis {} is {}, outside of {} to {}", d, size, range.lower,
                range.upper < 0 ? "any" : std::to_string(range.upper));
  }
  return {};
}

Result<Tensor> default_of(Value input, const Feature& feature) {
  POM_REQUIRE(all_known(input.shape()), "input '{}' may be left out, but then its shape {} is not known", input.name(),
              to_string(input.shape()));
  Tensor tensor(input.dtype(), known_sizes(input.shape()));
  tensor.mutable_data();
  for (std::size_t i = 0; i < tensor.count(); ++i) tensor.set_number(i, feature.default_value.value_or(0));
  return tensor;
}

Tensor as_source_had_it(const SourceFeature& source, Tensor tensor) {
  if (tensor.is_list() || tensor.is_dictionary()) return tensor;
  if (auto dtype = source_dtype(source.dtype); dtype && *dtype != tensor.dtype() && *dtype != DType::string) {
    if (*dtype == DType::boolean) {
      std::vector<double> values = tensor.numbers();
      for (double& v : values) v = v != 0;
      tensor = Tensor::from_numbers(DType::boolean, tensor.sizes(), values);
    } else {
      tensor = tensor.converted(*dtype);
    }
  }
  if (source.shape == "[]" && tensor.count() == 1) tensor = tensor.reshaped({});
  return tensor;
}

}  // namespace

std::optional<DType> source_dtype(std::string_view spelled) {
  for (const Spelling& s : spellings)
    if (s.spelled == spelled) return s.dtype;
  return dtype_named(spelled);
}

const Feature* find_feature(const std::vector<Feature>& features, std::string_view name) {
  for (const Feature& feature : features)
    if (feature.name == name) return &feature;
  return nullptr;
}

std::string source_name(const Program& program, bool is_input, const std::string& feature) {
  auto source = source_feature(program.metadata, is_input, feature);
  return source ? source->name : feature;
}

Result<NamedTensors> program_inputs(const Program& program, const Function& function, const NamedTensors& given) {
  NamedTensors inputs;
  std::size_t used = 0;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    if (input.type().kind == Type::Kind::state) continue;
    std::string outside = source_name(program, true, input.name());
    auto found = given.find(outside);
    if (found == given.end()) found = given.find(input.name());
    const Feature* feature = find_feature(function.inputs, input.name());
    if (found == given.end()) {
      POM_REQUIRE(feature && feature->optional, "input '{}' is missing; the model takes {}", outside,
                  input_names(program, function));
      inputs[input.name()] = POM_TRY(default_of(input, *feature));
      continue;
    }
    ++used;
    Tensor tensor = POM_TRY_IN(adapted(found->second, input), "input '{}'", outside);
    if (feature) POM_TRY_IN(check_range(tensor, *feature), "input '{}'", outside);
    inputs[input.name()] = std::move(tensor);
  }
  if (used < given.size())
    for (const auto& [name, tensor] : given)
      POM_REQUIRE(function.body.input(name) ||
                      std::any_of(inputs.begin(), inputs.end(),
                                  [&](const auto& entry) { return source_name(program, true, entry.first) == name; }),
                  "the model has no input '{}'; it takes {}", name, input_names(program, function));
  POM_TRY(check_shapes(program.metadata, inputs));
  return inputs;
}

NamedTensors source_inputs(const Program& program, const NamedTensors& inputs) {
  NamedTensors outside;
  for (const auto& [name, tensor] : inputs) {
    auto source = source_feature(program.metadata, true, name);
    outside[source ? source->name : name] = source ? as_source_had_it(*source, tensor) : tensor;
  }
  return outside;
}

NamedTensors source_outputs(const Program& program, const Function& function, Tensors results) {
  NamedTensors outputs;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::string& feature = function.body.results()[i].name();
    auto source = source_feature(program.metadata, false, feature);
    if (source)
      outputs[source->name] = as_source_had_it(*source, std::move(results[i]));
    else
      outputs[feature] = std::move(results[i]);
  }
  return outputs;
}

void note_shapes(Program& program) {
  nlohmann::ordered_json shapes = nlohmann::ordered_json::object();
  const Function& function = program.main();
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    if (input.type().kind == Type::Kind::state || all_known(input.shape())) continue;
    auto& entry = shapes[input.name()] = nlohmann::ordered_json::array();
    for (Dim d : input.shape()) entry.push_back(d.text());
  }
  if (!shapes.empty()) program.metadata.user[std::string(shapes_key)] = shapes.dump();
}

Status check_shapes(const Metadata& metadata, const NamedTensors& inputs) {
  auto noted = metadata.user.find(std::string(shapes_key));
  if (noted == metadata.user.end()) return {};
  auto shapes = nlohmann::json::parse(noted->second, nullptr, false);
  if (!shapes.is_object()) return {};
  std::map<std::string, std::pair<std::int64_t, std::string>> sizes;  // by symbol: the size, and whose it is
  for (const auto& [input, dims] : shapes.items()) {
    auto tensor = inputs.find(input);
    if (tensor == inputs.end() || !dims.is_array() || dims.size() != tensor->second.rank()) continue;
    for (std::size_t d = 0; d < dims.size(); ++d) {
      if (!dims[d].is_string()) continue;
      std::string symbol = dims[d].get<std::string>();
      std::int64_t size = tensor->second.sizes()[d];
      auto [at, fresh] = sizes.try_emplace(symbol, size, input);
      POM_REQUIRE(fresh || at->second.first == size,
                  "size '{}' is {} in input '{}' but {} in input '{}'; in the source they are one", symbol,
                  at->second.first, at->second.second, size, input);
    }
  }
  for (const auto& [one, other] : equal_sizes(metadata)) {
    auto a = sizes.find(one), b = sizes.find(other);
    if (a == sizes.end() || b == sizes.end() || a->second.first == b->second.first) continue;
    return fail(
               "size '{}' is {} (input '{}') and size '{}' is {} (input '{}'), but the model combines them, and was "
               "converted for sizes that are equal",
               one, a->second.first, a->second.second, other, b->second.first, b->second.second)
        .advise("converting again with these sizes given by --input");
  }
  return {};
}

}  // namespace pomona::api
