// The program between rewriting passes, as text files: `--dump-after PASS[=FOLDER]`.
//
//   Dump dump = POM_TRY(Dump::asked(options.dump_after, output));
//   pipeline.after = [&](std::string_view pass, const Program& p) { return dump.take(pass, p); };
//   ... run the pipeline ...
//   POM_TRY(dump.check());                  // a pass that never ran was asked for
//
// Files are called NN_PASS.mil in the order of the passes. Without a folder they go to OUTPUT without its ending,
// .passes.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "ir/program.h"

namespace pomona::api {

class Dump {
 public:
  static Result<Dump> asked(const std::vector<std::string>& options, const std::string& output);
  bool wanted() const { return !folders_.empty(); }
  Status take(std::string_view pass, const Program& program);
  Status check() const;
  const std::vector<std::string>& files() const { return files_; }

 private:
  std::map<std::string, std::string, std::less<>> folders_;  // by pass, or "all"
  std::set<std::string, std::less<>> seen_;
  std::vector<std::string> files_;
  std::size_t passes_ = 0;
};

}  // namespace pomona::api
