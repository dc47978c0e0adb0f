// What the ways of converting share: stages that are timed, what is noted in a package, how it is written.
//
//   Stages stage(report, progress);
//   Model model = POM_TRY(stage("read", [&] { return open_model(source, open); }));
#pragma once
#include "api/convert.h"
#include "api/files.h"
#include "formats/mlpackage/package.h"

namespace pomona::api {

class Stages {
 public:
  Stages(ConvertReport& report, const Progress& progress) : report_(report), progress_(progress) {}
  template <class Work>
  auto operator()(const char* name, Work&& work) {
    if (progress_) progress_(name, -1);
    Stopwatch watch;
    auto result = work();
    report_.stages.push_back({name, watch.seconds()});
    return result;
  }

 private:
  ConvertReport& report_;
  const Progress& progress_;
};

// Author, licence and the like as they were asked for, and where the model came from, unless that is empty.
Status set_metadata(Program& program, const std::string& source, const ConvertOptions& options);
void count_ops(const Block& block, std::map<std::string, std::size_t>& ops);
mlpackage::WriteOptions write_options(const ConvertOptions& options, const Progress& progress);

}  // namespace pomona::api
