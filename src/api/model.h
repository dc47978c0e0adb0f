// Opens any model that some part of Pomona reads. The format is found from the bytes, never from the extension.
//
//   Model model = POM_TRY(open_model("encoder.onnx"));
//   Model member = POM_TRY(open_model("pipeline.mlpackage#detector"));   // one model of several
//
// Formats are rows of one table (formats()): a name, how its bytes are recognised, and how it is read. A row without a
// reader is a format we know by sight only; its error names it.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "formats/onnx/import.h"
#include "ir/program.h"

namespace pomona::api {

struct Model {
  Program program;
  std::string path;    // as it was given
  std::string format;  // a name of the table
};

struct OpenOptions {
  Target target = Target::iOS18;                     // of a format that has operator sets of its own
  std::map<std::string, Sizes> shapes;               // given to inputs; a negative size leaves the model's own
  std::map<std::string, Tensor> constants;           // inputs that become constants
  std::map<std::string, onnx::CustomOp> custom_ops;  // operators of the source that its user lowers
};

Result<Model> open_model(const std::string& path, const OpenOptions& options = {});
// The name of the format alone. Errors: there is nothing at `path`; no format is recognised.
Result<std::string> format_of(const std::string& path);

// Read from a Core ML package or model file.
bool is_core_ml(const Model& model);
// Whether a format of the table is a checkpoint's: weights and a configuration, of which a program is built.
bool is_checkpoint_format(std::string_view format);

// What recognising looks at: a file's bytes, or a folder.
struct Source {
  std::string path, inner;  // `inner`: behind '#'
  bool is_folder = false;
  Bytes bytes;                            // of a file
  std::vector<std::uint32_t> fields;      // when the bytes look like protobuf: the numbers of the outermost fields
  bool has(std::string_view file) const;  // in the folder
  bool has_field(std::uint32_t first, std::uint32_t last) const;
  bool starts_with(std::string_view text, std::size_t at = 0) const;
};
struct Format {
  std::string_view name;
  bool (*recognise)(const Source&);
  Result<Program> (*read)(const Source&, const OpenOptions&);  // null: known by sight only
  std::string_view scope;                                      // what of it is read, in the words of the README
  std::string_view written;                                    // what is written of it; empty: nothing
};
std::span<const Format> formats();
inline constexpr std::string_view package_name = "Core ML package", model_file_name = "Core ML model file",
                                  onnx_name = "ONNX", chain_name = "chain of Core ML packages",
                                  mil_text_name = "MIL text";

// Metadata that a conversion leaves in the package: its source (api/origin.h), and names of input sizes.
inline constexpr std::string_view source_file_key = "com.pomona.source.file";
inline constexpr std::string_view shapes_key = "com.pomona.shapes";

}  // namespace pomona::api
