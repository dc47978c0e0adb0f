// What the command line does, as functions: options by their names in the library's records, reports as dicts.
#include <nanobind/stl/string.h>

#include <algorithm>
#include <optional>

#include "api/border.h"
#include "api/compress.h"
#include "api/convert.h"
#include "api/inspect.h"
#include "api/run.h"
#include "api/verify.h"
#include "pomona/version.h"
#include "python/arrays.h"
#include "python/callbacks.h"
#include "python/calls.h"
#include "python/model.h"
#include "python/options.h"
#include "verify/inputs.h"

namespace pomona::python {
namespace nb = nanobind;
namespace {

nb::list texts_list(const Strings& texts) {
  nb::list list;
  for (const std::string& text : texts) list.append(text_of(text));
  return list;
}

nb::list sizes_list(const Sizes& sizes) {
  nb::list list;
  for (std::int64_t size : sizes) list.append(size);
  return list;
}

nb::dict metrics_dict(const verify::Metrics& m) {
  nb::dict d;
  d["max_abs"] = m.max_abs;
  d["max_rel"] = m.max_rel;
  d["rmse"] = m.rmse;
  d["range"] = m.range;
  d["snr_db"] = m.snr_db;
  d["psnr_db"] = m.psnr_db;
  d["cosine"] = m.cosine;
  d["argmax_agreement"] = m.argmax_agreement;
  d["count"] = m.count;
  d["non_finite"] = m.non_finite;
  return d;
}

nb::dict divergence_dict(const api::Divergence& found) {
  nb::dict d;
  d["found"] = found.found;
  d["value"] = text_of(found.value);
  d["op"] = text_of(found.op);
  d["source"] = text_of(found.source);
  d["last_good"] = text_of(found.last_good);
  d["at"] = sizes_list(found.at);
  d["got"] = found.got;
  d["expected"] = found.expected;
  d["compared"] = found.compared;
  d["total"] = found.total;
  d["metrics"] = metrics_dict(found.metrics);
  return d;
}

nb::dict verification_dict(const api::VerifyReport& report) {
  nb::list lines;
  for (const api::OutputLine& line : report.lines) {
    nb::dict d;
    d["name"] = text_of(line.name);
    d["problem"] = text_of(line.problem);
    d["metrics"] = metrics_dict(line.metrics);
    lines.append(d);
  }
  nb::dict d;
  d["passed"] = report.passed;
  d["reference"] = text_of(report.reference);
  d["note"] = text_of(report.note);
  d["outputs"] = lines;
  d["divergence"] = report.divergence ? nb::object(divergence_dict(*report.divergence)) : nb::none();
  d["seconds"] = report.seconds;
  return d;
}

nb::list weight_lines(const std::vector<compress::WeightLine>& lines) {
  auto number = [](std::optional<double> value) { return value ? nb::object(nb::float_(*value)) : nb::none(); };
  nb::list all;
  for (const compress::WeightLine& line : lines) {
    nb::dict d;
    d["function"] = text_of(line.function);
    d["name"] = text_of(line.name);
    d["dtype"] = text_of(name(line.dtype));
    d["shape"] = sizes_list(line.sizes);
    d["scheme"] = text_of(line.scheme);
    d["note"] = text_of(line.note);
    d["compressed"] = line.compressed();
    d["bytes_before"] = line.bytes_before;
    d["bytes_after"] = line.bytes_after;
    d["bits_per_weight"] = line.bits_per_weight();
    d["relative_error"] = number(line.relative_error());
    d["snr_db"] = number(line.snr_decibel());
    all.append(d);
  }
  return all;
}

nb::dict mixed_dict(const api::MixedReport& report) {
  nb::list kept;
  for (const api::KeptOp& op : report.kept) {
    nb::dict d;
    d["op"] = text_of(op.op);
    d["value"] = text_of(op.value);
    d["source"] = text_of(op.source);
    d["reason"] = text_of(op.reason);
    kept.append(d);
  }
  nb::dict d;
  d["kept"] = kept;
  d["ops"] = report.ops;
  d["trials"] = report.trials;
  d["note"] = text_of(report.note);
  return d;
}

nb::dict convert(const std::string& source, const std::string& output, const nb::dict& given, nb::object progress,
                 const nb::dict& lowerings, const nb::list& given_rules) {
  auto options = options_of<api::ConvertOptions>(given);
  UserRules rules(given_rules);
  options.custom_bodies = custom_bodies(lowerings);
  options.rules = rules.pointers();
  auto report = without_gil([&] { return api::convert(source, output, options, progress_to(progress)); });
  nb::list stages;
  for (const api::Stage& stage : report.stages) stages.append(nb::make_tuple(text_of(stage.name), stage.seconds));
  nb::dict d, ops, applied;
  for (const auto& [op, count] : report.ops) ops[text_of(op)] = count;
  for (const auto& [rule, count] : report.rules) applied[text_of(rule)] = count;
  d["written"] = report.written;
  d["source_format"] = text_of(report.source_format);
  d["output"] = text_of(report.output);
  d["source_bytes"] = report.source_bytes;
  d["output_bytes"] = report.output_bytes;
  d["peak_memory"] = report.peak_memory;
  d["border"] = texts_list(report.border);
  d["ops"] = ops;
  d["rules"] = applied;
  d["mixed"] = report.mixed ? nb::object(mixed_dict(*report.mixed)) : nb::none();
  d["stages"] = stages;
  d["weights"] = weight_lines(report.weights);
  d["verification"] = report.verification ? nb::object(verification_dict(*report.verification)) : nb::none();
  return d;
}

// What the request itself does not know is the scheme's.
nb::dict compress(const std::string& input, const std::string& output, const nb::dict& given, nb::object progress) {
  NamedAttributes of_request, of_scheme;
  for (auto& [name, value] : attributes_of(given)) {
    const auto& fields = record_of<api::CompressOptions>().fields;
    bool known = std::any_of(fields.begin(), fields.end(), [&](const FieldInfo* field) { return field->name == name; });
    (known ? of_request : of_scheme)[name] = std::move(value);
  }
  api::CompressOptions options;
  value_or_throw(set_fields(options, of_request));
  auto report = without_gil([&] { return api::compress(input, output, options, of_scheme, progress_to(progress)); });
  nb::dict d;
  d["bytes_before"] = report.bytes_before;
  d["bytes_after"] = report.bytes_after;
  d["peak_memory"] = report.peak_memory;
  d["seconds"] = report.seconds;
  d["written"] = report.written;
  d["warnings"] = texts_list(report.warnings);
  d["verification"] = report.verification ? nb::object(verification_dict(*report.verification)) : nb::none();
  d["weights"] = weight_lines(report.lines);
  return d;
}

nb::dict decompress(const std::string& input, const std::string& output, bool force, nb::object progress) {
  auto report = without_gil([&] { return api::decompress(input, output, force, progress_to(progress)); });
  nb::dict d;
  d["bytes_before"] = report.bytes_before;
  d["bytes_after"] = report.bytes_after;
  d["weights"] = report.weights;
  return d;
}

// A Python function as the reference. What it raises may be about sizes that were tried, so that others are tried next;
// it is raised in the end when none will do.
class Answering {
 public:
  explicit Answering(nb::handle callable) : callable_(callable) {}

  Result<NamedTensors> operator()(const NamedTensors& given) {
    nb::gil_scoped_acquire acquired;
    raised_.reset();
    try {
      nb::dict inputs;
      for (const auto& [name, tensor] : given) inputs[text_of(name)] = array_of(tensor);
      nb::object outputs = callable_(inputs);
      if (!nb::isinstance<nb::dict>(outputs)) return fail("the reference gives no dict of arrays");
      return tensors_of(nb::cast<nb::dict>(outputs));
    } catch (nb::python_error& error) {
      bool may_be_size = error.matches(PyExc_Exception);
      Error refused = fail("the reference raised {}", nb::cast<std::string>(nb::str(error.type().attr("__name__"))));
      if (!may_be_size) refused.fault = Fault::environment;
      raised_.emplace(std::move(error));
      return refused;
    }
  }
  void raise_again() const {
    if (raised_) throw nb::python_error(*raised_);
  }

 private:
  nb::handle callable_;
  std::optional<nb::python_error> raised_;
};

nb::dict verify(const std::string& path, const nb::dict& given, nb::object reference, nb::object inputs) {
  auto options = options_of<api::VerifyOptions>(given);
  Answering answering(reference);
  if (!reference.is_none()) options.answer = [&](const NamedTensors& tensors) { return answering(tensors); };
  if (!inputs.is_none()) options.given = tensors_of(nb::cast<nb::dict>(inputs));
  auto report = try_without_gil([&] { return api::verify(path, options); });
  if (!report) answering.raise_again();
  return verification_dict(value_or_throw(std::move(report)));
}

nb::dict inspect(const std::string& path) {
  api::Inspection found = without_gil([&] { return api::inspect(path); });
  nb::dict d, bytes_by_kind;
  for (const auto& [kind, bytes] : found.bytes_by_kind) bytes_by_kind[text_of(kind)] = bytes;
  nb::list functions, weights, ops;
  for (const api::FunctionFacts& function : found.functions) {
    nb::dict f, counts;
    for (const auto& [op, count] : function.ops) counts[text_of(op)] = count;
    f["name"] = text_of(function.name);
    f["opset"] = text_of(name(function.opset));
    f["needs"] = text_of(name(function.needs));
    f["needs_because"] = text_of(function.needs_because);
    f["ops"] = counts;
    functions.append(f);
  }
  for (const api::WeightLine& line : found.weights) {
    nb::dict w;
    w["name"] = text_of(line.name);
    w["scheme"] = text_of(line.scheme);
    w["type"] = text_of(line.type.text());
    w["parameters"] = line.parameters;
    w["bytes"] = line.bytes;
    weights.append(w);
  }
  for (const api::OpLine& line : found.ops) {
    nb::dict o;
    o["name"] = text_of(line.name);
    o["op"] = text_of(line.op);
    o["source"] = text_of(line.source);
    o["types"] = text_of(line.types);
    ops.append(o);
  }
  d["format"] = text_of(found.format);
  d["file_bytes"] = found.file_bytes;
  d["default_function"] = text_of(found.default_function);
  d["functions"] = functions;
  d["parameters"] = found.parameters;
  d["bytes_by_kind"] = bytes_by_kind;
  d["weights"] = weights;
  d["ops"] = ops;
  d["obstacle"] = text_of(found.obstacle);
  return d;
}

nb::dict random_inputs(const SharedModel& model, const std::string& function_name, std::uint64_t seed) {
  const Function& function = *value_or_throw(api::function_of(model->program, function_name));
  NamedTensors inputs =
      without_gil([&] { return verify::random_inputs(function, {.seed = seed, .sizes = {}, .default_size = 0}); });
  nb::dict d;
  for (auto& [name, tensor] : api::source_inputs(model->program, inputs)) d[text_of(name)] = array_of(tensor);
  return d;
}

}  // namespace

void bind_verbs(nb::module_& m) {
  m.def("version", [] { return text_of(version()); });
  m.def("convert", convert, nb::arg("source"), nb::arg("output"), nb::arg("options"),
        nb::arg("progress").none() = nb::none(), nb::arg("lowerings") = nb::dict(), nb::arg("rules") = nb::list());
  m.def("compress", compress, nb::arg("source"), nb::arg("output"), nb::arg("options"),
        nb::arg("progress").none() = nb::none());
  m.def("decompress", decompress, nb::arg("source"), nb::arg("output"), nb::arg("force"),
        nb::arg("progress").none() = nb::none());
  m.def("verify", verify, nb::arg("model"), nb::arg("options"), nb::arg("reference").none() = nb::none(),
        nb::arg("inputs").none() = nb::none());
  m.def("inspect", inspect, nb::arg("path"));
  m.def("random_inputs", random_inputs, nb::arg("model"), nb::arg("function") = "", nb::arg("seed") = 0);
  m.def("convert_options", described<api::ConvertOptions>);
  m.def("compress_options", described<api::CompressOptions>);
  m.def("verify_options", described<api::VerifyOptions>);
}

}  // namespace pomona::python
