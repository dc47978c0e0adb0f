#include "api/split.h"

#include <fmt/format.h>

#include <filesystem>

#include "api/byte_count.h"
#include "api/chain_manifest.h"
#include "api/files.h"
#include "api/model.h"
#include "cpu/runner.h"
#include "formats/mlpackage/package.h"
#include "verify/inputs.h"

namespace pomona::api {
namespace {

namespace fs = std::filesystem;

// A package is its weights and the program: what the latter takes is seen when it has been written.
constexpr int most_attempts = 16;

Result<rewrite::ChainLimits> limits_of(const SplitOptions& options) {
  POM_REQUIRE(options.parts >= 0 && options.parts != 1, "{} part is no split", *options.parts);
  rewrite::ChainLimits limits{std::size_t(*options.parts), 0, *options.embedding_apart};
  if (!options.max_bytes->empty()) limits.most_bytes = POM_TRY(bytes_in(options.max_bytes));
  if (!limits.parts && !limits.most_bytes && !limits.embedding_apart)
    return fail("it is not said how to split").advise("--parts N, --max-bytes B such as 1900MB, or --embedding-apart");
  return limits;
}

// What passes into a part and out of it: what the whole model does not have.
void note_passing(const rewrite::Chain& chain, std::size_t i, SplitPart& part) {
  const Function& main = chain.parts[i].main();
  for (const rewrite::ChainBorder& border : chain.borders) {
    if (border.function != main.name) continue;
    auto add = [](const std::vector<Feature>& own, const std::vector<std::string>& whole,
                  std::vector<std::string>& to) {
      for (const Feature& feature : own)
        if (std::find(whole.begin(), whole.end(), feature.name) == whole.end()) to.push_back(feature.name);
    };
    add(main.inputs, border.inputs, part.takes);
    add(main.outputs, border.outputs, part.gives);
  }
}

Result<std::vector<SplitPart>> write_parts(rewrite::Chain& chain, const Metadata& metadata, const std::string& folder,
                                           const Progress& progress) {
  std::vector<SplitPart> parts;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < chain.parts.size(); ++i) {
    SplitPart part{fmt::format("part_{}.mlpackage", i), chain.weight_bytes[i], 0, {}, {}};
    Metadata& own = chain.parts[i].metadata;
    own.author = metadata.author;
    own.license = metadata.license;
    own.version = metadata.version;
    own.description = fmt::format("Part {} of {}. {}", i + 1, chain.parts.size(), metadata.description);
    if (progress) progress("write", double(i) / double(chain.parts.size()));
    std::string path = (fs::path(folder) / part.package).string();
    POM_TRY_IN(mlpackage::write_package(chain.parts[i], path, {.force = true}), "part {}", i);
    part.bytes = size_on_disk(path);
    note_passing(chain, i, part);
    names.push_back(part.package);
    parts.push_back(std::move(part));
  }
  POM_TRY(write_whole_file((fs::path(folder) / chain_manifest_name).string(), chain_manifest(chain, metadata, names),
                           true));
  return parts;
}

// Runs both on the same inputs; every output is to be the same to the last bit.
Result<std::size_t> compare(const Program& before, const Program& after) {
  std::size_t compared = 0;
  for (const auto& function : before.functions) {
    NamedTensors inputs = POM_TRY(verify::random_inputs(*function, {}));
    const Function* other = after.function(function->name);
    POM_REQUIRE(other, "the parts have no function '{}'", function->name);
    cpu::Runner expected(*function, {}), got(*other, {});
    Tensors want = POM_TRY(expected.run(inputs)), have = POM_TRY(got.run(inputs));
    POM_REQUIRE(want.size() == have.size(), "the parts give {} outputs, not {}", have.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i, ++compared)
      POM_REQUIRE(want[i].same_bits(have[i]), "the parts give another '{}' in function '{}'",
                  function->body.results()[i].name(), function->name);
  }
  return compared;
}

}  // namespace

Result<SplitReport> split(const std::string& input, const std::string& output, const SplitOptions& options,
                          const Progress& progress) {
  Stopwatch watch;
  rewrite::ChainLimits limits = POM_TRY(limits_of(options));
  POM_TRY(check_output(output, options.force));
  Model model = POM_TRY(open_model(input));
  POM_REQUIRE(is_core_ml(model) || model.format == chain_name, "'{}' is {}: convert it first", input, model.format);
  const std::uint64_t most = limits.most_bytes;
  for (int attempt = 1;; ++attempt) {
    if (progress) progress("cut", -1);
    rewrite::Chain chain = POM_TRY_IN(rewrite::cut_into_chain(model.program, limits), "model '{}'", input);
    Unfinished draft(beside(output));
    POM_TRY(make_folder(draft.path()));
    SplitReport report;
    report.parts = POM_TRY(write_parts(chain, model.program.metadata, draft.path(), progress));
    std::uint64_t over = 0;
    for (const SplitPart& part : report.parts)
      if (most && part.bytes > most) over = std::max(over, part.bytes - most);
    if (over) {
      POM_REQUIRE(attempt < most_attempts && over < limits.most_bytes,
                  "a part has {} bytes more than the {} that are allowed", over, most);
      limits.most_bytes -= over;
      continue;
    }
    if (!options.no_verify) {
      if (progress) progress("verify", -1);
      Program whole = POM_TRY(read_chain_folder(draft.path()));
      report.compared = POM_TRY_IN(compare(model.program, whole), "verifying what was written");
    }
    report.bytes_before = size_on_disk(input);
    report.bytes_after = size_on_disk(draft.path());
    POM_TRY(draft.move_to(output));
    report.seconds = watch.seconds();
    return report;
  }
}

}  // namespace pomona::api
