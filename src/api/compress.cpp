#include "api/compress.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

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

Result<Attribute> attribute_from(const nlohmann::json& value) {
  if (value.is_boolean()) return Attribute(value.get<bool>());
  if (value.is_number_integer()) return Attribute(value.get<std::int64_t>());
  if (value.is_number()) return Attribute(value.get<double>());
  if (value.is_string()) return Attribute(value.get<std::string>());
  return fail("{} is no number, text or truth value", value.dump());
}

struct Config {
  std::string scheme;
  compress::SchemeOptions options;
};
// {"scheme": "linear", "dtype": "int4", "granularity": "per_block"}
Result<Config> read_config(const std::string& path) {
  Bytes bytes = POM_TRY(map_file(path));
  auto json = nlohmann::json::parse(bytes.text(), nullptr, false);
  POM_REQUIRE(json.is_object(), "'{}' is no JSON object with a scheme and its options", path);
  Config config;
  for (const auto& [key, value] : json.items()) {
    Attribute attribute = POM_TRY_IN(attribute_from(value), "'{}' in '{}'", key, path);
    if (key != "scheme")
      config.options[key] = attribute;
    else if (auto* name = std::get_if<std::string>(&attribute))
      config.scheme = *name;
    else
      return fail("'scheme' in '{}' is no text", path);
  }
  return config;
}

Result<std::shared_ptr<const compress::Scheme>> scheme_from(const CompressOptions& options,
                                                            const compress::SchemeOptions& scheme_options) {
  Config config;
  if (!options.config->empty()) config = POM_TRY(read_config(options.config));
  if (!options.scheme->empty()) config.scheme = options.scheme;
  if (config.scheme.empty()) {
    std::string names;
    for (const auto& each : compress::schemes()) names += (names.empty() ? "" : ", ") + std::string(each.name);
    for (const auto& each : compress::short_names()) names += ", " + std::string(each.name);
    return fail("no scheme is given").advise("--scheme with one of: " + names);
  }
  for (const auto& [name, value] : scheme_options) config.options[name] = value;
  return compress::make_scheme(config.scheme, config.options);
}

}  // namespace

Result<CompressReport> compress(const std::string& input, const std::string& output, const CompressOptions& options,
                                const compress::SchemeOptions& scheme_options, const Progress& progress) {
  Stopwatch watch;
  compress::Request request{POM_TRY(scheme_from(options, scheme_options))};
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
