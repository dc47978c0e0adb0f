// Files and folders that are being made: gone when their making fails, or when an interrupt ends the program.
//
//   Unfinished draft(beside(path));
//   ... write to draft.path() ...
//   POM_TRY(draft.move_to(path));        // whole, at its place; what was there is gone only now
//
// It does not catch signals: whoever ends the program early calls remove_unfinished() first, from an ordinary thread.
#pragma once
#include <string>
#include <utility>

#include "base/error.h"

namespace pomona {

class Unfinished {
 public:
  explicit Unfinished(std::string path);
  Unfinished(Unfinished&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Unfinished& operator=(Unfinished&&) = delete;
  ~Unfinished();
  const std::string& path() const { return path_; }
  // Takes the place of what is at `path`, which is put back if that fails. An interrupt comes before or after it.
  Status move_to(const std::string& path);

 private:
  std::string path_;
};

// A name in the folder of `path` that no other process uses.
std::string beside(const std::string& path);
// Removes everything that is unfinished. Nothing more is moved into place after it: the program is to end.
void remove_unfinished();

}  // namespace pomona
