#include "api/conformance_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <unordered_set>

#include "api/border.h"
#include "api/files.h"
#include "api/run.h"
#include "api/tensors.h"
#include "api/verify.h"
#include "formats/npy/npy.h"
#include "formats/onnx/proto.h"
#include "formats/onnx/tensor.h"
#include "ir/op.h"

namespace pomona::api {
namespace {

namespace fs = std::filesystem;
using Verdict = CaseResult::Status;

struct DataSet {
  NamedTensors inputs, expected;
};

Tensor same_bits(const Tensor& tensor, DType dtype) {
  Tensor other(dtype, tensor.sizes());
  std::memcpy(other.mutable_data(), tensor.data(), tensor.size_bytes());
  return other;
}

// The files kind_0.pb, kind_1.pb, ... by the names they carry; those of older cases carry none that the model knows,
// and stand for the features in their order.
Result<NamedTensors> read_files(const fs::path& folder, const char* kind,
                                const std::vector<onnx::ValueInfoProto>& features) {
  NamedTensors tensors;
  for (std::size_t i = 0; i < features.size(); ++i) {
    std::string path = (folder / fmt::format("{}_{}.pb", kind, i)).string();
    std::error_code ignored;
    if (!fs::exists(path, ignored)) break;
    using Kind = onnx::ValueInfoProto::Kind;
    POM_REQUIRE(
        features[i].kind != Kind::sequence && features[i].kind != Kind::optional && features[i].kind != Kind::map,
        "{} '{}' is a {}, and Core ML's models take and give tensors", kind, features[i].name,
        features[i].kind == Kind::sequence   ? "sequence"
        : features[i].kind == Kind::optional ? "value that may be absent"
                                             : "map");
    onnx::TensorFile file = POM_TRY(onnx::read_tensor_file(path));
    bool known = std::any_of(features.begin(), features.end(), [&](const auto& f) { return f.name == file.name; });
    // The cases of 2022 spell bfloat16 as the integers that its bits are.
    if (features[i].elem_type == int(onnx::Elem::bfloat16) && file.tensor.dtype() == DType::uint16)
      file.tensor = same_bits(file.tensor, DType::bf16);
    tensors[known ? file.name : std::string(features[i].name)] = std::move(file.tensor);
  }
  return tensors;
}

bool is_expanded(const std::string& folder) {
  return fs::path(folder).filename().string().find("expanded") != std::string::npos;
}

std::string op_of(const onnx::ModelProto& model, const std::string& folder) {
  if (model.graph.node.size() == 1) return std::string(model.graph.node[0].op_type);
  return is_expanded(folder) ? "(functions, expanded)" : "(several ops)";
}

// Cases are counted apart by what makes them special: the core is the rest, and the expanded cases are the core's ops
// as functions.
std::string group_of(const onnx::ModelProto& model, const std::string& folder) {
  using Names = std::unordered_set<std::string_view>;
  static const Names domains{"ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training"};
  static const Names sequences{"ConcatFromSequence", "Optional",          "OptionalGetElement", "OptionalHasElement",
                               "SequenceAt",         "SequenceConstruct", "SequenceEmpty",      "SequenceErase",
                               "SequenceInsert",     "SequenceLength",    "SequenceMap",        "SplitToSequence"};
  static const Names strings{"RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"};
  bool texts = false, lists = false, narrow = false;
  for (const auto* features : {&model.graph.input, &model.graph.output})
    for (const onnx::ValueInfoProto& feature : *features) {
      lists = lists || feature.kind != onnx::ValueInfoProto::Kind::tensor;
      texts = texts || feature.elem_type == int(onnx::Elem::string);
      narrow = narrow || feature.elem_type >= int(onnx::Elem::bfloat16);
    }
  auto any_op = [&](const Names& names) {
    return std::any_of(model.graph.node.begin(), model.graph.node.end(),
                       [&](const onnx::NodeProto& node) { return names.count(node.op_type) > 0; });
  };
  bool other_domain = std::any_of(model.graph.node.begin(), model.graph.node.end(),
                                  [](const onnx::NodeProto& node) { return domains.count(node.domain) > 0; });
  if (narrow) return "low-bit and bfloat16";
  if (!lists && is_expanded(folder)) return "expanded";
  if (lists || any_op(sequences)) return "sequence and optional";
  if (texts || any_op(strings)) return "string";
  if (other_domain) return "ml, preview and training";
  return any_op({"ImageDecoder"}) ? "image decoding" : "core";
}

struct Allowed {
  double relative, absolute;
  bool operator()(double got, double want) const {
    if (got == want || (std::isnan(got) && std::isnan(want))) return true;
    return std::fabs(got - want) <= absolute + relative * std::fabs(want);
  }
};
// In any precision what fp32 cannot tell from the largest value: zeros among numbers of 50 are 0 or 2e-7, and cases
// have both. In fp16 also what a few roundings to 11 bits change, of a value and of the largest one that went into it.
Allowed allowed(const Tensor& want, const ConformanceOptions& options) {
  Allowed here{*options.rtol, *options.atol};
  if (!is_float(want.dtype())) return here;
  constexpr double of_value = 1e-2, of_largest = 1e-3, half_a_digit = 0x1p-24;
  double largest = 0;
  for (std::size_t i = 0; i < want.count(); ++i)
    if (std::isfinite(want.number(i))) largest = std::max(largest, std::fabs(want.number(i)));
  here.absolute = std::max(here.absolute, half_a_digit * largest);
  if (*options.precision == "fp32") return here;
  return {std::max(here.relative, of_value), std::max(here.absolute, of_largest * std::max(largest, 1.0))};
}

Status compare(const Tensor& got, const Tensor& want, const ConformanceOptions& options, bool random) {
  POM_REQUIRE(got.dtype() == want.dtype(), "it is {} instead of {}", pomona::name(got.dtype()),
              pomona::name(want.dtype()));
  POM_REQUIRE(got.sizes() == want.sizes(), "its shape is {} instead of {}", to_string(got.sizes()),
              to_string(want.sizes()));
  if (random) return {};
  if (want.dtype() == DType::string) {
    POM_REQUIRE(got.text() == want.text(), "its texts differ");
    return {};
  }
  std::size_t different = 0, first = 0;
  const Allowed is_near = allowed(want, options);
  for (std::size_t i = 0; i < want.count(); ++i)
    if (!is_near(got.number(i), want.number(i)) && different++ == 0) first = i;
  POM_REQUIRE(different == 0, "{} of {} elements differ, the first at {}: {} instead of {}", different, want.count(),
              first, got.number(first), want.number(first));
  return {};
}

class Case {
 public:
  Case(const std::string& folder, const std::string& outputs, const ConformanceOptions& options)
      : folder_(folder), outputs_(outputs), options_(options) {}

  CaseResult run() {
    auto done = steps();
    if (!done) {
      result_.reason = describe(done.error()).substr(std::string_view("error: ").size());
      if (done.error().fault == Fault::bug) result_.status = Verdict::failed;
    }
    return std::move(result_);
  }

 private:
  Status steps() {
    result_.status = Verdict::unsupported;
    Bytes file = POM_TRY(map_file(folder_ + "/model.onnx"));
    onnx::ModelProto model = POM_TRY(onnx::parse_model(file));
    result_.op = op_of(model, folder_);
    result_.group = group_of(model, folder_);
    std::vector<DataSet> sets = POM_TRY(data_sets(model));
    TemporaryFolder work = POM_TRY(TemporaryFolder::make());
    std::string package = work.path() + "/case.mlpackage";
    auto constants = POM_TRY(convert_case(model, sets[0].inputs, work.path(), package));
    result_.status = Verdict::failed;
    Model written = POM_TRY_IN(open_model(package), "reading back");
    const Function& function = written.program.main();
    random_ = draws_numbers(function.body);
    cpu::Runner runner(function, {.rounding = cpu::Rounding::strict});
    for (DataSet& set : sets) {
      for (const std::string& constant : constants) set.inputs.erase(constant);
      // Inputs may hold values that the dtypes of a border do not: those are refused, which is no failure.
      result_.status = Verdict::unsupported;
      NamedTensors inputs = POM_TRY_IN(program_inputs(written.program, function, set.inputs), "inputs");
      result_.status = Verdict::failed;
      NamedTensors got =
          source_outputs(written.program, function, POM_TRY_IN(runner.run(inputs), "running what was written"));
      if (&set == &sets[0] && !outputs_.empty()) POM_TRY(write_tensors(outputs_, got, {}, true));
      result_.status = Verdict::passed;
      judge(got, set.expected);
      if (result_.status != Verdict::passed) return {};
    }
    return {};
  }

  Result<std::vector<DataSet>> data_sets(const onnx::ModelProto& model) {
    std::vector<onnx::ValueInfoProto> inputs;
    for (const onnx::ValueInfoProto& input : model.graph.input) {
      bool initial = false;
      for (const onnx::TensorProto& tensor : model.graph.initializer) initial = initial || tensor.name == input.name;
      if (!initial) inputs.push_back(input);
    }
    std::vector<DataSet> sets;
    for (int i = 0;; ++i) {
      fs::path folder = fs::path(folder_) / fmt::format("test_data_set_{}", i);
      std::error_code ignored;
      if (!fs::is_directory(folder, ignored)) break;
      sets.push_back({POM_TRY_IN(read_files(folder, "input", inputs), "data set {}", i),
                      POM_TRY_IN(read_files(folder, "output", model.graph.output), "data set {}", i)});
    }
    POM_REQUIRE(!sets.empty(), "the case has no data set");
    return sets;
  }

  // Converts; when that fails, once more with small inputs as constants, but the first; then with that one, too.
  // Returns the names of inputs that became constants.
  Result<Strings> convert_case(const onnx::ModelProto& model, const NamedTensors& inputs, const std::string& work,
                               const std::string& package) {
    ConvertOptions options;
    options.precision = *options_.precision;
    options.target = *options_.target;
    options.no_verify = true;
    options.force = true;
    auto plain = convert(folder_ + "/model.onnx", package, options, {});
    if (plain) return Strings{};
    Strings names, places;
    for (std::size_t i = model.graph.input.size(); i-- > 0;) {
      auto found = inputs.find(std::string(model.graph.input[i].name));
      if (found == inputs.end() || !is_parameter(found->second)) continue;
      std::string path = fmt::format("{}/{}.npy", work, i);
      POM_TRY(npy::write_npy(path, found->second));
      if (i == 0 && !names.empty() && convert(folder_ + "/model.onnx", package, with(options, places), {}))
        return names;
      names.push_back(found->first);
      places.push_back(found->first + "=" + path);
    }
    if (names.empty()) return std::move(plain).error();
    POM_TRY(convert(folder_ + "/model.onnx", package, with(options, places), {}));
    return names;
  }

  // Axes, sizes, pads, scales and limits are short lists or single numbers.
  static bool is_parameter(const Tensor& tensor) {
    return tensor.rank() <= 1 && tensor.dtype() != DType::string &&
           (tensor.count() <= 1 || !is_float(tensor.dtype()) || tensor.count() <= 8);
  }
  static ConvertOptions with(ConvertOptions options, const Strings& constants) {
    options.constant = constants;
    return options;
  }

  void judge(const NamedTensors& got, const NamedTensors& expected) {
    for (const auto& [output, want] : expected) {
      auto found = got.find(output);
      auto compared =
          found == got.end() ? Status(fail("it is missing")) : compare(found->second, want, options_, random_);
      if (compared) continue;
      result_.status = Verdict::wrong;
      result_.reason = fmt::format("output '{}': {}", output, compared.error().what);
    }
  }

  const std::string& folder_;
  const std::string& outputs_;
  const ConformanceOptions& options_;
  bool random_ = false;
  CaseResult result_;
};

}  // namespace

CaseResult run_case(const std::string& folder, const std::string& outputs, const ConformanceOptions& options) {
  return Case(folder, outputs, options).run();
}

}  // namespace pomona::api
