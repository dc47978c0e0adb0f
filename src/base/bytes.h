// Bytes: a range of memory together with whatever keeps it alive, most often a mapped file.
//
//   Bytes file = POM_TRY(map_file("weights.bin"));
//   Bytes blob = POM_TRY(file.slice(offset, size));   // shares the mapping; outlives the variable `file`
//
// Copying is cheap. The contents are read-only. Pages of a mapped file come from the page cache and are not
// anonymous memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"

namespace pomona {

class Bytes {
 public:
  Bytes() = default;
  Bytes(std::shared_ptr<const void> owner, std::span<const std::uint8_t> view)
      : owner_(std::move(owner)), view_(view) {}
  // Takes the contents over.
  static Bytes own(std::string contents);

  const std::uint8_t* data() const { return view_.data(); }
  std::size_t size() const { return view_.size(); }
  std::span<const std::uint8_t> span() const { return view_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(view_.data()), view_.size()}; }
  const std::shared_ptr<const void>& owner() const { return owner_; }
  // The part [offset, offset + size); an error when it reaches past the end.
  Result<Bytes> slice(std::uint64_t offset, std::uint64_t size) const;

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::uint8_t> view_;
};

// Maps a whole regular file for reading. Errors: no such file, a directory, no permission.
Result<Bytes> map_file(const std::string& path);

}  // namespace pomona
