// The part of the zip format that .npz files and PyTorch checkpoints use (APPNOTE.TXT 6.3): members stored or deflated,
// no encryption.
//
//   for (const ZipMember& m : POM_TRY(zip_members(file))) Bytes contents = POM_TRY(zip_contents(file, m));
//
// Sizes in the archive are promises of a stranger: a deflated member may not claim more than deflate can yield.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace pomona {

struct ZipMember {
  std::string name;
  unsigned method = 0, flags = 0;
  std::uint32_t crc = 0;
  std::uint64_t packed_size = 0, size = 0, header_offset = 0;
};

// The members that the central directory lists.
Result<std::vector<ZipMember>> zip_members(const Bytes& file);
// A member's contents with its checksum verified; a stored one shares the file's memory.
Result<Bytes> zip_contents(const Bytes& file, const ZipMember& member);
// An archive of stored members. Errors: more than 65,535 members or 4 GB.
Result<std::string> zip_of(const std::vector<std::pair<std::string, std::string>>& members);

}  // namespace pomona
