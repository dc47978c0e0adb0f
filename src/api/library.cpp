// Behind include/pomona: the same functions that the command line calls, in types of the standard library.
#include "pomona/pomona.h"

#include <algorithm>

#include "api/compress.h"
#include "api/convert.h"
#include "api/inspect.h"
#include "api/run.h"
#include "api/show.h"
#include "ir/text.h"

namespace pomona {
namespace {

Problem problem_of(const Error& error) {
  return {Problem::Kind(int(error.fault)), error.what, {error.places.rbegin(), error.places.rend()}, error.advice};
}

std::map<std::string, Attribute> attributes_of(const Options& options) {
  std::map<std::string, Attribute> attributes;
  for (const auto& [name, value] : options)
    attributes[name] = std::visit([](const auto& v) { return Attribute(v); }, value);
  return attributes;
}

Result<Tensor> tensor_of(const Array& array) {
  auto dtype = dtype_named(array.dtype);
  POM_REQUIRE(dtype && *dtype != DType::string && !is_sub_byte(*dtype), "'{}' is no dtype of an array", array.dtype);
  for (std::int64_t size : array.shape) POM_REQUIRE(size >= 0, "a size is {}", size);
  std::uint64_t count = std::uint64_t(element_count(array.shape)), wanted = count * element_size_bytes(*dtype);
  POM_REQUIRE(wanted == array.bytes.size(), "{} bytes are given, but {} {} has {}", array.bytes.size(), array.dtype,
              to_string(array.shape), wanted);
  Tensor tensor(*dtype, array.shape);
  std::copy(array.bytes.begin(), array.bytes.end(), tensor.mutable_data());
  return tensor;
}

Array array_of(const Tensor& tensor) {
  std::size_t size = tensor.count() * element_size_bytes(tensor.dtype());
  return {std::string(name(tensor.dtype())), tensor.sizes(), {tensor.data(), tensor.data() + size}};
}

Result<Arrays> arrays_of(const NamedTensors& tensors) {
  Arrays arrays;
  for (const auto& [name, tensor] : tensors) {
    POM_REQUIRE(!tensor.is_list() && !tensor.is_dictionary() && tensor.dtype() != DType::string,
                "output '{}' is no array", name);
    arrays[name] = array_of(tensor);
  }
  return arrays;
}

Verification verification_of(const api::VerifyReport& report) {
  Verification verification{report.passed, report.reference, {}};
  for (const api::OutputLine& line : report.lines)
    verification.outputs.push_back({line.name, line.metrics.cosine, line.metrics.max_abs, line.problem});
  return verification;
}

std::vector<Port> features_of(const std::vector<api::FeatureLine>& lines) {
  std::vector<Port> features;
  for (const auto& [feature, type] : lines) features.push_back({feature.name, type});
  return features;
}

api::FunctionFacts main_of(const api::Model& model) {
  api::Inspection found = api::inspect(model);
  for (api::FunctionFacts& facts : found.functions)
    if (facts.name == model.program.main().name) return std::move(facts);
  return {};
}

template <class T>
Answer<T> answer(Result<T> result) {
  if (!result) return problem_of(result.error());
  return *std::move(result);
}

}  // namespace

std::string Problem::text() const {
  return describe(Error{what, {places.rbegin(), places.rend()}, advice, Fault(int(kind))});
}

struct Model::Parts {
  api::Model model;
  cpu::Runner runner;
  explicit Parts(api::Model opened) : model(std::move(opened)), runner(model.program.main(), {}) {}
};

Model::Model(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Answer<Model> Model::open(const std::string& path) {
  auto model = api::open_model(path);
  if (!model) return problem_of(model.error());
  return Model(std::make_unique<Parts>(*std::move(model)));
}

std::string Model::format() const { return parts_->model.format; }
std::vector<Port> Model::inputs() const { return features_of(main_of(parts_->model).inputs); }
std::vector<Port> Model::outputs() const { return features_of(main_of(parts_->model).outputs); }
std::string Model::text() const { return to_text(parts_->model.program); }

Answer<Arrays> Model::run(const Arrays& inputs) {
  auto outputs = [&]() -> Result<Arrays> {
    NamedTensors given;
    for (const auto& [name, array] : inputs) given[name] = POM_TRY_IN(tensor_of(array), "input '{}'", name);
    const Program& program = parts_->model.program;
    return arrays_of(POM_TRY(api::call(parts_->runner, program, program.main(), given)));
  };
  return answer(outputs());
}

Answer<Conversion> convert_model(const std::string& source, const std::string& output, const Options& options) {
  auto made = [&]() -> Result<Conversion> {
    api::ConvertOptions record;
    POM_TRY(set_fields(record, attributes_of(options)));
    auto report = POM_TRY(api::convert(source, output, record, {}));
    Conversion conversion{
        report.written, report.border, report.source_bytes, report.output_bytes, report.verification.has_value(), {}};
    if (report.verification) conversion.verification = verification_of(*report.verification);
    return conversion;
  };
  return answer(made());
}

Answer<Compression> compress_model(const std::string& package, const std::string& output, const Options& options) {
  auto made = [&]() -> Result<Compression> {
    // What the record does not have belongs to the scheme.
    api::CompressOptions record;
    compress::SchemeOptions scheme_options;
    const std::string own[] = {"scheme", "config", "force"};
    for (const auto& [name, value] : attributes_of(options)) {
      if (std::find(std::begin(own), std::end(own), name) != std::end(own))
        POM_TRY(set_fields(record, {{name, value}}));
      else
        scheme_options[name] = value;
    }
    auto report = POM_TRY(api::compress(package, output, record, scheme_options, {}));
    Compression compression{report.bytes_before, report.bytes_after, 0, 0};
    for (const auto& line : report.lines) ++(line.compressed() ? compression.compressed : compression.left);
    return compression;
  };
  return answer(made());
}

Answer<Verification> verify_model(const std::string& model, const Options& options) {
  auto found = [&]() -> Result<Verification> {
    api::VerifyOptions record;
    POM_TRY(set_fields(record, attributes_of(options)));
    return verification_of(POM_TRY(api::verify(model, record)));
  };
  return answer(found());
}

}  // namespace pomona
