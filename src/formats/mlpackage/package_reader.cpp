#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "formats/mlpackage/description.h"
#include "formats/mlpackage/manifest.h"
#include "formats/mlpackage/package.h"
#include "formats/mlpackage/program_reader.h"
#include "ir/op.h"

namespace pomona::mlpackage {
namespace {

namespace fs = std::filesystem;

struct ModelKind {
  std::uint32_t field;
  const char* what;
};
constexpr std::uint32_t ml_program = 502;
// The members of Model.proto's oneof that are not ML Programs or pipelines.
constexpr ModelKind other_kinds[] = {{300, "a generalised linear regressor"},
                                     {301, "a support vector regressor"},
                                     {302, "a tree ensemble regressor"},
                                     {303, "a neural network regressor"},
                                     {304, "a Bayesian probit regressor"},
                                     {400, "a generalised linear classifier"},
                                     {401, "a support vector classifier"},
                                     {402, "a tree ensemble classifier"},
                                     {403, "a neural network classifier"},
                                     {404, "a nearest neighbours classifier"},
                                     {500, "a neural network"},
                                     {501, "an item similarity recommender"},
                                     {555, "a custom model"},
                                     {556, "a link to another model"},
                                     {560, "a class confidence thresholding"},
                                     {600, "a one-hot encoder"},
                                     {601, "an imputer"},
                                     {602, "a feature vectorizer"},
                                     {603, "a dictionary vectorizer"},
                                     {604, "a scaler"},
                                     {606, "a categorical mapping"},
                                     {607, "a normalizer"},
                                     {609, "an array feature extractor"},
                                     {610, "a non-maximum suppression"},
                                     {900, "an identity"},
                                     {2000, "a text classifier"},
                                     {2001, "a word tagger"},
                                     {2002, "a vision feature print"},
                                     {2003, "a sound analysis preprocessing"},
                                     {2004, "a gazetteer"},
                                     {2005, "a word embedding"},
                                     {2006, "an audio feature print"},
                                     {3000, "a serialized model"}};

struct ModelParts {
  std::int64_t version = 0;
  Message description, program, pipeline;
  const char* other = nullptr;
};

Result<ModelParts> read_parts(Message message) {
  ModelParts parts;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    if (field.number == 1) parts.version = POM_TRY(field.integer());
    if (field.number == 2) parts.description = POM_TRY(field.message());
    if (field.number == ml_program) parts.program = POM_TRY(field.message());
    if (field.number == 202) parts.pipeline = POM_TRY(field.message());
    if (field.number == 200 || field.number == 201) {
      WireField inner;
      for (WireReader wrapped(POM_TRY(field.message())); POM_TRY(wrapped.next(inner));)
        if (inner.number == 1) parts.pipeline = POM_TRY(inner.message());
    }
    for (const ModelKind& kind : other_kinds)
      if (kind.field == field.number) parts.other = kind.what;
  }
  return parts;
}

void describe_function(Function& function, FunctionDescription description) {
  function.inputs = std::move(description.inputs);
  function.outputs = std::move(description.outputs);
  function.states = std::move(description.states);
  function.predicted_feature = std::move(description.predicted_feature);
  function.predicted_probabilities = std::move(description.predicted_probabilities);
  for (const auto& node : function.body.nodes()) {
    if (node->op->name != "classify") continue;
    if (auto* labels = std::get_if<Strings>(&node->attribute("classes"))) function.class_labels = *labels;
    if (auto* labels = std::get_if<Ints>(&node->attribute("classes")))
      for (std::int64_t label : *labels) function.class_labels.push_back(std::to_string(label));
  }
}

Status describe_functions(ModelDescription description, Program& program) {
  program.metadata = std::move(description.metadata);
  if (description.functions.empty()) {
    describe_function(program.main(), std::move(description.single));
    return {};
  }
  for (const FunctionDescription& each : description.functions) {
    Function* function = program.function(each.name);
    POM_REQUIRE(function, "the model describes a function '{}' that its program does not have", each.name);
    describe_function(*function, each);
  }
  auto position = [&](const std::unique_ptr<Function>& function) {
    auto named = [&](const FunctionDescription& d) { return d.name == function->name; };
    return std::ranges::find_if(description.functions, named) - description.functions.begin();
  };
  std::ranges::stable_sort(program.functions, {}, position);
  program.default_function = description.default_function;
  if (program.default_function.empty()) program.default_function = program.main().name;
  POM_REQUIRE(program.function(program.default_function), "the default function '{}' does not exist",
              program.default_function);
  return {};
}

Result<Program> program_of(const ModelParts& parts, const std::string& weights_folder) {
  POM_REQUIRE(!parts.other, "the model is {}, not an ML Program", parts.other);
  POM_REQUIRE(parts.program.origin, "the model is not an ML Program: it has none of the kinds that Core ML knows");
  Program program;
  WeightFiles files(weights_folder);
  POM_TRY(read_program(parts.program, files, program));
  ModelDescription description;
  if (parts.description.origin) description = POM_TRY_IN(read_description(parts.description), "model description");
  POM_TRY_IN(describe_functions(std::move(description), program), "model description");
  return program;
}

struct Members {
  std::vector<Message> models;
  std::vector<std::string> names;
};
Result<Members> read_members(Message pipeline) {
  Members members;
  WireField field;
  for (WireReader reader(pipeline); POM_TRY(reader.next(field));) {
    if (field.number == 1) members.models.push_back(POM_TRY(field.message()));
    if (field.number == 2) members.names.emplace_back(POM_TRY(field.text()));
  }
  for (std::size_t i = members.names.size(); i < members.models.size(); ++i)
    members.names.push_back(fmt::format("model{}", i));
  return members;
}

Result<PackageFiles> files_of(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return PackageFiles{path, {}};
  POM_REQUIRE(!fs::exists(path + "/coremldata.bin", error), "this is a compiled model; only packages are read");
  return read_manifest(path);
}

// Pipelines in pipelines would be members of members.
Status add_members(Message model, const std::string& prefix, const std::string& weights, int depth,
                   std::vector<NamedProgram>& programs) {
  POM_REQUIRE(depth < deepest_nesting, "pipelines are nested deeper than {}", deepest_nesting);
  ModelParts parts = POM_TRY(read_parts(model));
  if (!parts.pipeline.origin) {
    programs.push_back({prefix, POM_TRY(program_of(parts, weights))});
    return {};
  }
  Members members = POM_TRY(read_members(parts.pipeline));
  for (std::size_t i = 0; i < members.models.size(); ++i) {
    std::string name = prefix.empty() ? members.names[i] : prefix + "/" + members.names[i];
    POM_TRY_IN(add_members(members.models[i], name, weights, depth + 1, programs), "pipeline member '{}'", name);
  }
  return {};
}

}  // namespace

Result<Program> read_model(const Bytes& model, const std::string& weights_folder) {
  ModelParts parts = POM_TRY(read_parts(Message::whole(model.text())));
  if (parts.pipeline.origin) {
    Members members = POM_TRY(read_members(parts.pipeline));
    std::string names;
    for (const std::string& name : members.names) names += (names.empty() ? "" : ", ") + name;
    return fail("the model is a pipeline of {} models: {}", members.models.size(), names)
        .advise("name one of them: PATH#MEMBER");
  }
  return program_of(parts, weights_folder);
}

Result<Program> read_package(const std::string& path) {
  PackageFiles files = POM_TRY_IN(files_of(path), "'{}'", path);
  Bytes model = POM_TRY_IN(map_file(files.model), "'{}'", path);
  return POM_TRY_IN(read_model(model, files.weights_folder), "'{}'", path);
}

Result<bool> holds_program(const std::string& path) {
  PackageFiles files = POM_TRY_IN(files_of(path), "'{}'", path);
  Bytes model = POM_TRY_IN(map_file(files.model), "'{}'", path);
  ModelParts parts = POM_TRY_IN(read_parts(Message::whole(model.text())), "'{}'", path);
  return !parts.other && !parts.pipeline.origin;
}

Result<std::vector<NamedProgram>> read_pipeline(const std::string& path) {
  PackageFiles files = POM_TRY_IN(files_of(path), "'{}'", path);
  Bytes model = POM_TRY_IN(map_file(files.model), "'{}'", path);
  std::vector<NamedProgram> programs;
  POM_TRY_IN(add_members(Message::whole(model.text()), {}, files.weights_folder, 0, programs), "'{}'", path);
  return programs;
}

}  // namespace pomona::mlpackage
