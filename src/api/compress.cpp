#include "api/compress.h"

#include <fmt/format.h>

#include "api/compress_config.h"
#include "api/files.h"
#include "formats/mlpackage/package.h"

namespace pomona::api {
namespace {

mlpackage::WriteOptions write_options(bool force, const Progress& progress) {
  mlpackage::WriteOptions options{force, {}};
  if (progress)
    options.progress = [&progress](std::uint64_t done, std::uint64_t total) {
      progress("write", total ? double(done) / double(total) : 1);
    };
  return options;
}

Result<compress::Recipe> recipe_from(const CompressOptions& options, const compress::SchemeOptions& scheme_options) {
  POM_REQUIRE(options.config->empty() || (options.scheme->empty() && scheme_options.empty()),
              "--config says all about the schemes: --scheme and its options do not go with it");
  if (!options.config->empty()) return read_recipe(options.config);
  if (!options.scheme->empty()) return compress::one_scheme(*options.scheme, scheme_options);
  std::string names;
  for (const auto& each : compress::schemes()) names += (names.empty() ? "" : ", ") + std::string(each.name);
  for (const auto& each : compress::short_names()) names += ", " + std::string(each.name);
  return fail("no scheme is given").advise("--scheme with one of: " + names);
}

}  // namespace

Result<CompressReport> compress(const std::string& input, const std::string& output, const CompressOptions& options,
                                const compress::SchemeOptions& scheme_options, const Progress& progress) {
  Stopwatch watch;
  compress::Request request{POM_TRY(recipe_from(options, scheme_options))};
  POM_TRY(check_package_output(output, options.force));
  Model model = POM_TRY(open_model(input));
  POM_REQUIRE(is_core_ml(model), "'{}' is {}: convert it first, with --compress", input, model.format);
  auto found = POM_TRY(compress::compress(model.program, request));
  POM_TRY(mlpackage::write_package(model.program, output, write_options(options.force, progress)));
  return CompressReport{size_on_disk(input), size_on_disk(output), peak_memory_bytes(), std::move(found.lines),
                        watch.seconds()};
}

Result<DecompressReport> decompress(const std::string& input, const std::string& output, bool force,
                                    const Progress& progress) {
  POM_TRY(check_package_output(output, force));
  Model model = POM_TRY(open_model(input));
  POM_REQUIRE(is_core_ml(model), "'{}' is {}, not a Core ML package", input, model.format);
  std::size_t weights = POM_TRY(compress::decompress(model.program));
  POM_TRY(mlpackage::write_package(model.program, output, write_options(force, progress)));
  return DecompressReport{size_on_disk(input), size_on_disk(output), weights};
}

}  // namespace pomona::api
