// What a long job has done so far, so that it need not do it again after an interruption: the parts of each weight that
// was encoded, in a folder beside the output, which goes when the job is done.
//
//   auto journal = POM_TRY(Journal::open("out.mlpackage.unfinished", fingerprint));   // of another job: begun anew
//   if (POM_TRY(journal->take(7, encoded))) ...        // the seventh weight was done: its parts are those of the file
//   POM_TRY(journal->keep(7, encoded));
//   journal->finish();
//
// Parts are read from the mapped file when the package is written; nothing is held in memory.
#pragma once
#include <chrono>

#include "compress/stages.h"

namespace pomona::compress {

class Journal {
 public:
  // `job` names everything that the result depends on.
  static Result<std::shared_ptr<Journal>> open(std::string folder, const std::string& job);
  bool resumes() const { return begun_; }
  // Weights that were found done.
  std::size_t taken() const { return taken_; }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }
  // Whether the weight of this number was done. `encoded` has its stages; their parts and the words become what they
  // were.
  Result<bool> take(std::size_t number, Encoded& encoded, std::vector<float>& shift);
  // Runs what has not been run yet; the parts are then those of the file.
  Status keep(std::size_t number, Encoded& encoded, const std::vector<float>& shift);
  // Removes the folder, which the first weight that was kept had made.
  void finish();

 private:
  std::string path_of(std::size_t number) const;
  Status begin();
  std::string folder_, job_;
  bool begun_ = false;
  std::size_t taken_ = 0;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace pomona::compress
