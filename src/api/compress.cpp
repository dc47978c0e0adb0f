#include "api/compress.h"

#include "api/files.h"
#include "formats/mlpackage/package.h"

namespace pomona::api {
namespace {

// What was given, without what belongs to this verb.
compress::SchemeOptions scheme_options(const CompressOptions& options) {
  compress::SchemeOptions given;
  const RecordInfo& record = record_of<CompressOptions>();
  for (std::size_t i = 0; i < record.fields.size(); ++i) {
    std::string name(record.fields[i]->name);
    Attribute value = record.fields[i]->get(record.at(&options, i));
    bool is_given = value.index() != 0 && value != Attribute(false);
    if (is_given && name != "scheme" && name != "force") given[name] = std::move(value);
  }
  return given;
}

mlpackage::WriteOptions write_options(bool force, const Progress& progress) {
  mlpackage::WriteOptions options{force, {}};
  if (progress)
    options.progress = [&progress](std::uint64_t done, std::uint64_t total) {
      progress("write", total ? double(done) / double(total) : 1);
    };
  return options;
}

}  // namespace

Result<CompressReport> compress(const std::string& source, const std::string& output, const CompressOptions& options,
                                const Progress& progress) {
  Stopwatch watch;
  POM_REQUIRE(!options.scheme->empty(), "--scheme is missing");
  compress::Request request{POM_TRY(compress::make_scheme(*options.scheme, scheme_options(options)))};
  POM_TRY(check_free(output, options.force));
  Program program = POM_TRY(mlpackage::read_package(source));
  compress::CompressProgress examined;
  if (progress)
    examined = [&progress](std::size_t done, std::size_t total) { progress("read", double(done) / double(total)); };
  CompressReport report;
  report.weights = POM_TRY_IN(compress::compress(program, request, examined), "'{}'", source);
  POM_TRY(mlpackage::write_package(program, output, write_options(options.force, progress)));
  report.source_bytes = size_on_disk(source);
  report.output_bytes = size_on_disk(output);
  report.peak_memory = peak_memory_bytes();
  report.seconds = watch.seconds();
  return report;
}

Result<CompressReport> decompress(const std::string& source, const std::string& output, bool force,
                                  const Progress& progress) {
  Stopwatch watch;
  POM_TRY(check_free(output, force));
  Program program = POM_TRY(mlpackage::read_package(source));
  CompressReport report;
  report.decoded = POM_TRY_IN(compress::decompress(program), "'{}'", source);
  POM_TRY(mlpackage::write_package(program, output, write_options(force, progress)));
  report.source_bytes = size_on_disk(source);
  report.output_bytes = size_on_disk(output);
  report.peak_memory = peak_memory_bytes();
  report.seconds = watch.seconds();
  return report;
}

}  // namespace pomona::api
