#include "python/model.h"

#include <nanobind/stl/string.h>

#include <cstring>
#include <limits>
#include <set>

#include "api/border.h"
#include "api/inspect.h"
#include "api/origin.h"
#include "api/run.h"
#include "formats/mlpackage/package.h"
#include "ir/border.h"
#include "ir/text.h"
#include "python/arrays.h"
#include "python/calls.h"
#include "python/errors.h"

namespace pomona::python {
namespace nb = nanobind;
namespace {

const Function& function_named(OpenedModel& model, const std::string& name) {
  return *value_or_throw(api::function_of(model.program, name));
}

bool is_state(Value value) { return value.type().kind == Type::Kind::state; }

nb::list sizes_list(const Sizes& sizes) {
  nb::list list;
  for (std::int64_t size : sizes) list.append(size);
  return list;
}

const char* kind_name(Feature::Kind kind) {
  switch (kind) {
    case Feature::Kind::array:
      return "array";
    case Feature::Kind::image:
      return "image";
    case Feature::Kind::int64:
      return "int64";
    case Feature::Kind::real:
      return "real";
    case Feature::Kind::string:
      return "string";
    case Feature::Kind::dictionary:
      return "dictionary";
    case Feature::Kind::sequence:
      break;
  }
  return "sequence";
}

nb::dict feature_dict(const Feature& feature, const std::string& source_name) {
  nb::dict d;
  d["name"] = text_of(feature.name);
  d["source_name"] = text_of(source_name);
  d["text"] = text_of(api::feature_text(feature));
  d["description"] = text_of(feature.description);
  d["kind"] = kind_name(feature.kind);
  d["dtype"] = text_of(name(feature.dtype));
  d["optional"] = feature.optional;
  d["default"] = feature.default_value ? nb::object(nb::float_(*feature.default_value)) : nb::none();
  d["shape"] = feature.has_shape ? nb::object(sizes_list(feature.shape)) : nb::none();
  nb::list ranges, enumerated;
  for (const Feature::Range& range : feature.ranges) ranges.append(nb::make_tuple(range.lower, range.upper));
  for (const Sizes& sizes : feature.enumerated) enumerated.append(sizes_list(sizes));
  d["ranges"] = ranges;
  d["enumerated"] = enumerated;
  d["color_space"] = feature.color_space;
  return d;
}

// A feature for a value that the model's description does not mention, as those of imported models.
Feature feature_of(const std::vector<Feature>& features, Value value) {
  if (const Feature* found = api::find_feature(features, value.name())) return *found;
  return pomona::feature_of(value);
}

std::string dims_text(Value value) {
  std::string text;
  for (Dim dim : value.shape()) text += (text.empty() ? "" : ", ") + dim.text();
  return std::string(name(value.dtype())) + " [" + text + "]";
}

nb::dict value_dict(const Program& program, const std::vector<Feature>& features, Value value, bool is_input) {
  Feature feature = feature_of(features, value);
  nb::dict d = feature_dict(feature, api::source_name(program, is_input, value.name()));
  d["value_dtype"] = text_of(name(value.dtype()));
  if (feature.kind == Feature::Kind::array && feature.ranges.empty() && feature.enumerated.empty())
    d["text"] = text_of(dims_text(value));
  d["rank"] = value.rank();
  nb::list dims;
  for (Dim dim : value.shape())
    dims.append(dim.known() ? nb::object(nb::int_(dim.value())) : nb::object(text_of(dim.text())));
  d["dims"] = dims;
  return d;
}

struct Contents {
  std::map<std::string, std::size_t> ops;
  std::set<DType> dtypes;  // of inputs, constants and what is computed
};
void look_at(const Block& block, Contents& contents) {
  for (const auto& node : block.nodes()) {
    for (const auto& inner : node->blocks) look_at(*inner, contents);
    if (!node->literal) ++contents.ops[std::string(node->op->name)];
    for (std::size_t i = 0; i < node->output_count(); ++i) contents.dtypes.insert(node->output(i).dtype());
  }
}

nb::dict function_dict(const Program& program, const Function& function) {
  nb::list inputs, outputs, states, labels;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value value = function.body.input(i);
    if (is_state(value))
      states.append(value_dict(program, function.states, value, true));
    else
      inputs.append(value_dict(program, function.inputs, value, true));
  }
  for (Value value : function.body.results()) outputs.append(value_dict(program, function.outputs, value, false));
  for (const std::string& label : function.class_labels) labels.append(text_of(label));
  Contents contents;
  look_at(function.body, contents);
  for (std::size_t i = 0; i < function.body.input_count(); ++i) contents.dtypes.insert(function.body.input(i).dtype());
  nb::dict counts;
  nb::list dtypes;
  for (const auto& [op, count] : contents.ops) counts[text_of(op)] = count;
  for (DType dtype : contents.dtypes) dtypes.append(text_of(name(dtype)));
  nb::dict d;
  d["name"] = text_of(function.name);
  d["opset"] = text_of(name(function.opset));
  d["inputs"] = inputs;
  d["outputs"] = outputs;
  d["states"] = states;
  d["ops"] = counts;
  d["dtypes"] = dtypes;
  d["predicted_feature"] = text_of(function.predicted_feature);
  d["predicted_probabilities"] = text_of(function.predicted_probabilities);
  d["class_labels"] = labels;
  return d;
}

std::string source_path(const OpenedModel& model) { return value_or_throw(api::find_source(model)); }

nb::list functions_list(const OpenedModel& model) {
  nb::list functions;
  for (const auto& function : model.program.functions) functions.append(function_dict(model.program, *function));
  return functions;
}

nb::dict metadata_dict(const OpenedModel& model) {
  const Metadata& metadata = model.program.metadata;
  nb::dict user, d;
  for (const auto& [key, value] : metadata.user) user[text_of(key)] = text_of(value);
  d["author"] = text_of(metadata.author);
  d["license"] = text_of(metadata.license);
  d["version"] = text_of(metadata.version);
  d["description"] = text_of(metadata.description);
  d["user"] = user;
  return d;
}

SharedModel open_model(const std::string& path, const std::string& target_name) {
  auto target = target_named(target_name);
  if (!target) throw_error(fail("there is no target '{}'", target_name));
  return std::make_shared<OpenedModel>(
      without_gil([&] { return api::open_model(path, api::OpenOptions{.target = *target}); }));
}

// The place of a constant in the weight file it was read from; a record of 64 bytes comes before the data there.
bool place_of(const Weight& weight, TextBlob& place) {
  constexpr std::size_t record_bytes = 64;
  constexpr std::uint32_t sentinel = 0xDEADBEEF;
  const Bytes* bytes = weight.stored_bytes();
  if (!bytes || bytes->size() == 0) return false;
  auto* file = static_cast<const std::uint8_t*>(bytes->owner().get());
  std::uint64_t offset = std::uint64_t(bytes->data() - file);
  if (!file || bytes->data() < file || offset < 2 * record_bytes || offset % record_bytes != 0) return false;
  std::uint32_t first = 0;
  std::memcpy(&first, bytes->data() - record_bytes, sizeof(first));
  place = {"@model_path/weights/weight.bin", offset - record_bytes};
  return first == sentinel;
}
// As a compiled model has it in model.mil.
std::string compiled_text(const OpenedModel& model) {
  return to_text(model.program, {.blob = place_of, .compiled = true});
}

std::string text_of_model(OpenedModel& model, const std::string& function, bool full) {
  TextOptions options;
  if (full) options.elide_above = std::numeric_limits<std::size_t>::max();
  if (function.empty()) return to_text(model.program, options);
  return to_text(function_named(model, function), options);
}

void save(const SharedModel& model, const std::string& path, bool force) {
  if (!api::is_core_ml(*model))
    throw_error(
        fail("'{}' is a model of format {}; only Core ML models are saved as they are", model->path, model->format)
            .advise("pomona.convert(...)"));
  without_gil([&] { return mlpackage::write_package(model->program, path, {.force = force}); });
}

nb::object read_state(const State& state, const std::string& name, bool wide) {
  auto found = state.tensors.find(name);
  if (found == state.tensors.end()) throw_error(fail("the model has no state '{}'", name));
  return array_of(found->second, wide);
}

void write_state(State& state, const std::string& name, nb::handle value) {
  auto found = state.tensors.find(name);
  if (found == state.tensors.end()) throw_error(fail("the model has no state '{}'", name));
  Tensor tensor = tensor_of(value);
  if (tensor.sizes() != found->second.sizes())
    throw_error(fail("state '{}' is {}, not {}", name, found->second.type().text(), tensor.type().text()));
  if (tensor.dtype() == DType::string) throw_error(fail("a state holds numbers, not texts"));
  Tensor converted = tensor.converted(found->second.dtype());
  converted.mutable_data();  // not the caller's memory, which may change
  found->second = std::move(converted);
}

nb::list state_names(const State& state) {
  nb::list names;
  for (const auto& [name, tensor] : state.tensors) names.append(text_of(name));
  return names;
}

}  // namespace

Runner::Runner(SharedModel model, const std::string& function, bool strict)
    : model_(std::move(model)),
      function_(&function_named(*model_, function)),
      runner_(*function_, {.rounding = strict ? cpu::Rounding::strict : cpu::Rounding::fast}) {}

State Runner::make_state() const {
  State state;
  for (std::size_t i = 0; i < function_->body.input_count(); ++i)
    if (Value value = function_->body.input(i); is_state(value))
      state.tensors[value.name()] = Tensor(value.dtype(), known_sizes(value.shape()));
  return state;
}

Result<NamedTensors> Runner::call_locked(const NamedTensors& inputs, bool border) {
  if (border) return api::call(runner_, model_->program, *function_, inputs);
  Tensors results = POM_TRY(runner_.run(inputs));
  NamedTensors outputs;
  for (std::size_t i = 0; i < results.size(); ++i) outputs[function_->body.results()[i].name()] = std::move(results[i]);
  return outputs;
}

// The state's tensors are exchanged for the runner's own for the time of the call, so that nothing is copied.
Result<NamedTensors> Runner::call(NamedTensors inputs, State* state, bool border) {
  // A state may come from another function of the model, which has fewer or other ones.
  if (state)
    for (auto& [name, tensor] : make_state().tensors) {
      Tensor& own = state->tensors.try_emplace(name, tensor).first->second;
      POM_REQUIRE(own.dtype() == tensor.dtype() && own.sizes() == tensor.sizes(),
                  "state '{}' is {}, but the function has it as {}", name, own.type().text(), tensor.type().text());
    }
  std::lock_guard lock(mutex_);
  auto exchange = [&] {
    if (state)
      for (auto& [name, tensor] : state->tensors) std::swap(runner_.state(name), tensor);
  };
  exchange();
  auto outputs = call_locked(inputs, border);
  exchange();
  return outputs;
}

nb::dict Runner::run(const nb::dict& inputs, State* state, bool border, bool wide) {
  NamedTensors given = tensors_of(inputs);
  NamedTensors outputs = without_gil([&] { return call(std::move(given), state, border); });
  nb::dict result;
  for (auto& [name, tensor] : outputs) result[text_of(name)] = array_of(std::move(tensor), wide);
  return result;
}

void bind_model(nb::module_& m) {
  nb::class_<OpenedModel>(m, "Model")
      .def_ro("path", &OpenedModel::path)
      .def_ro("format", &OpenedModel::format)
      .def("source_path", source_path)
      .def_prop_ro("default_function", [](const OpenedModel& model) { return text_of(model.program.main().name); })
      .def("functions", functions_list)
      .def("metadata", metadata_dict)
      .def("compiled_text", compiled_text)
      .def("text", text_of_model, nb::arg("function") = "", nb::arg("full") = false);
  m.def("open_model", open_model, nb::arg("path"), nb::arg("target") = "iOS18");
  m.def("save", save, nb::arg("model"), nb::arg("path"), nb::arg("force") = false);
  nb::class_<State>(m, "State")
      .def("read", read_state, nb::arg("name"), nb::arg("wide") = false)
      .def("write", write_state, nb::arg("name"), nb::arg("value"))
      .def_prop_ro("names", state_names);
  nb::class_<Runner>(m, "Runner")
      .def(nb::init<SharedModel, const std::string&, bool>(), nb::arg("model"), nb::arg("function") = "",
           nb::arg("strict") = false)
      .def("run", &Runner::run, nb::arg("inputs"), nb::arg("state").none() = nb::none(), nb::arg("border") = true,
           nb::arg("wide") = false)
      .def("make_state", &Runner::make_state);
}

}  // namespace pomona::python
