#include "api/model.h"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "api/chain_manifest.h"
#include "formats/mlpackage/package.h"
#include "formats/onnx/import.h"
#include "ir/text.h"
#include "llm/language_model.h"
#include "ops/catalogue.h"
#include "rewrite/fix_shapes.h"

namespace pomona::api {
namespace {

namespace fs = std::filesystem;

// The numbers of a protobuf message's outermost fields; stops at the first byte that makes no sense. Both of our
// protobuf formats start with a version number, and only their field numbers tell them apart.
std::vector<std::uint32_t> field_numbers(std::span<const std::uint8_t> bytes) {
  std::vector<std::uint32_t> numbers;
  std::size_t at = 0;
  auto varint = [&](std::uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
      std::uint8_t byte = bytes[at++];
      value |= std::uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  };
  constexpr std::size_t most_fields = 10'000;
  for (std::uint64_t key = 0, size = 0; numbers.size() < most_fields && at < bytes.size() && varint(key);) {
    std::uint64_t number = key >> 3;
    if (number == 0 || number >= 1u << 29) break;
    switch (key & 7) {
      case 0:
        if (!varint(size)) return numbers;
        size = 0;
        break;
      case 1:
        size = 8;
        break;
      case 2:
        if (!varint(size)) return numbers;
        break;
      case 5:
        size = 4;
        break;
      default:
        return numbers;
    }
    numbers.push_back(std::uint32_t(number));
    if (size > bytes.size() - at) break;
    at += size;
  }
  return numbers;
}

bool is_chain(const Source& s) { return s.is_folder && s.has(chain_manifest_name); }
bool is_package(const Source& s) { return s.is_folder && s.has("Manifest.json"); }
// Specification version first, then the description; the kind of model has a number from 200 on.
bool is_coreml_file(const Source& s) { return s.starts_with("\x08") && s.has_field(200, 3000); }
bool is_onnx(const Source& s) { return s.has_field(7, 7) && !s.has_field(26, ~0u); }
bool is_compiled(const Source& s) { return s.is_folder && s.has("coremldata.bin"); }
bool is_saved_model(const Source& s) { return s.is_folder && s.has("saved_model.pb"); }
bool is_checkpoint(const Source& s) { return s.is_folder && (s.has("config.json") || s.has("modules.json")); }
bool is_gguf(const Source& s) { return s.starts_with("GGUF"); }
bool is_tflite(const Source& s) { return s.starts_with("TFL3", 4); }
bool is_safetensors(const Source& s) {
  return s.bytes.size() > 9 && std::all_of(s.bytes.data() + 5, s.bytes.data() + 8, [](auto b) { return b == 0; }) &&
         s.bytes.data()[8] == '{';
}
bool is_mlir_bytecode(const Source& s) { return s.starts_with("ML\xEFR"); }
bool is_stablehlo_text(const Source& s) {
  std::string_view head = s.bytes.text().substr(0, 4096);
  return head.find("stablehlo.") != head.npos || head.find("func.func") != head.npos;
}
bool is_mil_text(const Source& s) { return s.starts_with("program("); }
bool is_zip(const Source& s) { return s.starts_with("PK\x03\x04"); }
// torch.export.save: the names of an archive's files are said again at its end.
bool is_exported_program(const Source& s) {
  constexpr std::size_t directory_bytes = 1 << 16;
  std::string_view text = s.bytes.text();
  std::string_view end = text.substr(text.size() - std::min(text.size(), directory_bytes));
  return is_zip(s) &&
         (end.find("serialized_exported_program.json") != end.npos || end.find("/archive_format") != end.npos);
}
bool is_hdf5(const Source& s) { return s.starts_with("\x89HDF\r\n"); }
bool is_pickle(const Source& s) { return s.starts_with("\x80\x02") || s.starts_with("\x80\x03"); }

Result<Program> read_core_ml(const Source& source, const OpenOptions&) {
  if (source.inner.empty()) return mlpackage::read_package(source.path);
  auto members = POM_TRY(mlpackage::read_pipeline(source.path));
  std::string names;
  for (auto& member : members) {
    if (member.name == source.inner) return std::move(member.program);
    names += (names.empty() ? "" : ", ") + member.name;
  }
  POM_REQUIRE(members.size() > 1, "a package of one model has none called '{}'", source.inner);
  return fail("there is none called '{}' in it; it has: {}", source.inner, names);
}
// Whole, as if it had never been cut. A part is named as any model of a folder.
Result<Program> read_chain(const Source& source, const OpenOptions&) {
  POM_REQUIRE(source.inner.empty(), "the chain has no part called '{}'", source.inner);
  return read_chain_folder(source.path);
}
Result<Program> read_onnx_file(const Source& source, const OpenOptions& options) {
  POM_REQUIRE(source.inner.empty(), "an ONNX file holds one model, none called '{}'", source.inner);
  return onnx::read_onnx(source.path, {.target = options.target,
                                       .shapes = options.shapes,
                                       .constants = options.constants,
                                       .custom_ops = options.custom_ops});
}

Result<Program> read_mil_text(const Source& source, const OpenOptions&) {
  POM_REQUIRE(source.inner.empty(), "MIL text holds one model, none called '{}'", source.inner);
  ParseOptions options{.find_op = mil::find_op, .nearest_op = mil::nearest_op, .blob = {}};
  return POM_TRY_IN(parse_text(source.bytes.text(), options), "file '{}'", source.path);
}

// As it is run here: with fp32 activations, any number of tokens at a time, and weights as the source has them.
Result<Program> read_checkpoint(const Source& source, const OpenOptions&) {
  POM_REQUIRE(source.inner.empty(), "a checkpoint holds one model, none called '{}'", source.inner);
  llm::Checkpoint checkpoint = POM_TRY(llm::open_checkpoint(source.path));
  return POM_TRY_IN(llm::build_program(checkpoint, {.prefill = 512, .dtype = DType::fp32, .in_memory = true}),
                    "checkpoint '{}'", source.path);
}

// In the order they are asked; those that look only at a part of the bytes come last.
constexpr Format table[] = {
    {chain_name, is_chain, read_chain, "a folder that `split` made", "any program"},
    {package_name, is_package, read_core_ml, "`.mlpackage`, ML Program specification 6 to 10, and pipelines of them",
     "any program"},
    {"compiled Core ML model", is_compiled, nullptr, {}, {}},
    {"TensorFlow SavedModel", is_saved_model, nullptr, {}, {}},
    {"Hugging Face or MLX checkpoint",
     is_checkpoint,
     read_checkpoint,
     "language models and encoders in safetensors or PyTorch files; AWQ, GPTQ, compressed-tensors, bitsandbytes, fp8; "
     "MLX's affine 2 to 8 bits, mxfp4, mxfp8, nvfp4",
     {}},
    {"GGUF",
     is_gguf,
     read_checkpoint,
     "language models and encoders, version 2 and 3, split files, every block format",
     {}},
    {"TensorFlow Lite", is_tflite, nullptr, {}, {}},
    {"safetensors", is_safetensors, read_checkpoint, "one file beside its config.json", {}},
    {"MLIR bytecode", is_mlir_bytecode, nullptr, {}, {}},
    {"exported PyTorch program (.pt2)", is_exported_program, nullptr, {}, {}},
    {"zip archive (a PyTorch .pt file?)", is_zip, nullptr, {}, {}},
    {"HDF5 (Keras)", is_hdf5, nullptr, {}, {}},
    {"Python pickle", is_pickle, nullptr, {}, {}},
    {model_file_name, is_coreml_file, read_core_ml, "`.mlmodel` that is an ML Program", {}},
    {onnx_name, is_onnx, read_onnx_file, "operator sets 7 to 28, external data, `com.microsoft`, `ai.onnx.ml`", {}},
    {mil_text_name, is_mil_text, read_mil_text, "as `show` prints it", "any program"},
    {"StableHLO text", is_stablehlo_text, nullptr, {}, {}},
};

std::string readable_formats() {
  std::string names;
  for (const Format& format : table)
    if (format.read) names += (names.empty() ? "" : ", ") + std::string(format.name);
  return names;
}

Error unreadable(const std::string& path, const std::error_code& why) {
  return fail("'{}' cannot be read: {}", path, why.message()).blame(Fault::environment);
}

Result<Source> source_at(const std::string& path) {
  Source source;
  source.path = path;
  std::error_code ignored;
  if (std::size_t hash = path.rfind('#'); !fs::exists(path, ignored) && hash != path.npos) {
    source.path = path.substr(0, hash);
    source.inner = path.substr(hash + 1);
  }
  std::error_code failed;
  if (!fs::exists(source.path, failed)) {
    if (failed == std::errc::permission_denied) return unreadable(source.path, failed);
    return fail("there is no file or folder '{}'", source.path);
  }
  // A folder of models, of which one is named.
  if (std::string below = source.path + "/" + source.inner; !source.inner.empty() && fs::exists(below, ignored)) {
    source.path = below;
    source.inner.clear();
  }
  source.is_folder = fs::is_directory(source.path, ignored);
  if (source.is_folder) {
    fs::directory_iterator listing(source.path, failed);
    if (failed || ::access(source.path.c_str(), X_OK) != 0)
      return unreadable(source.path, failed ? failed : std::error_code(errno, std::generic_category()));
    return source;
  }
  source.bytes = POM_TRY(map_file(source.path));
  source.fields = field_numbers(source.bytes.span());
  return source;
}

Result<const Format*> recognised(const Source& source) {
  for (const Format& format : table)
    if (format.recognise(source)) return &format;
  std::string advice = "a model in one of: " + readable_formats();
  if (source.is_folder) return fail("the folder '{}' holds no model that is recognised", source.path).advise(advice);
  if (source.bytes.size() == 0) return fail("'{}' is empty", source.path).advise(advice);
  return fail("the {} bytes of '{}' are of no format that is known", source.bytes.size(), source.path).advise(advice);
}

}  // namespace

bool Source::has(std::string_view file) const {
  std::error_code ignored;
  return fs::exists(fs::path(path) / file, ignored);
}
bool Source::has_field(std::uint32_t first, std::uint32_t last) const {
  return std::any_of(fields.begin(), fields.end(), [&](std::uint32_t f) { return first <= f && f <= last; });
}
bool Source::starts_with(std::string_view text, std::size_t at) const {
  return bytes.size() >= at && bytes.text().substr(at).starts_with(text);
}

std::span<const Format> formats() { return table; }

Result<Model> open_model(const std::string& path, const OpenOptions& options) {
  Source source = POM_TRY(source_at(path));
  const Format& format = *POM_TRY(recognised(source));
  if (!format.read)
    return fail("'{}' is recognised as {}, which this version does not read", source.path, format.name)
        .advise("a model in one of: " + readable_formats());
  Model model;
  bool onnx = format.name == onnx_name, core_ml = format.read == read_core_ml;
  POM_REQUIRE(onnx || options.constants.empty(),
              "'{}' is a {}: its inputs are what they are, only those of ONNX models can be given values", path,
              format.name);
  POM_REQUIRE(onnx || core_ml || options.shapes.empty(), "'{}' is a {}, whose inputs cannot be given shapes", path,
              format.name);
  model.program = POM_TRY(format.read(source, options));
  if (core_ml && !options.shapes.empty())
    POM_TRY_IN(rewrite::fix_shapes(model.program, options.shapes), "file '{}'", path);
  POM_REQUIRE(!model.program.functions.empty(), "'{}' has no function", path);
  model.path = path;
  model.format = format.name;
  return model;
}

bool is_core_ml(const Model& model) {
  return std::any_of(std::begin(table), std::end(table),
                     [&](const Format& f) { return f.name == model.format && f.read == read_core_ml; });
}

bool is_checkpoint_format(std::string_view name) {
  return std::any_of(std::begin(table), std::end(table),
                     [&](const Format& f) { return f.name == name && f.read == read_checkpoint; });
}

Result<std::string> format_of(const std::string& path) {
  Source source = POM_TRY(source_at(path));
  return std::string(POM_TRY(recognised(source))->name);
}

}  // namespace pomona::api
