#include "base/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

namespace pomona {
namespace {

constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                        end64_signature = 0x06064b50, locator64_signature = 0x07064b50;
constexpr std::size_t local_size = 30, central_size = 46, end_size = 22, end64_size = 56, locator64_size = 20;
// No deflate stream grows by more than this (zlib's documentation: 1032 to 1).
constexpr std::uint64_t most_deflate_growth = 1040;

template <class T>
T number_at(const Bytes& bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

struct Directory {
  std::uint64_t offset, size, count;
};

Result<Directory> find_directory(const Bytes& file) {
  POM_REQUIRE(file.size() >= end_size, "the archive has only {} bytes", file.size());
  // The end record is followed by a comment of up to 65,535 bytes.
  std::size_t first = file.size() - std::min(file.size(), end_size + 65535);
  for (std::size_t at = file.size() - end_size + 1; at-- > first;) {
    if (number_at<std::uint32_t>(file, at) != end_signature) continue;
    Directory found{number_at<std::uint32_t>(file, at + 16), number_at<std::uint32_t>(file, at + 12),
                    number_at<std::uint16_t>(file, at + 10)};
    bool large = found.offset == 0xFFFFFFFF || found.size == 0xFFFFFFFF || found.count == 0xFFFF;
    if (!large || at < locator64_size || number_at<std::uint32_t>(file, at - locator64_size) != locator64_signature)
      return found;
    auto end64 = number_at<std::uint64_t>(file, at - locator64_size + 8);
    Bytes record = POM_TRY_IN(file.slice(end64, end64_size), "zip64 end record");
    POM_REQUIRE(number_at<std::uint32_t>(record, 0) == end64_signature, "the zip64 end record has no signature");
    return Directory{number_at<std::uint64_t>(record, 48), number_at<std::uint64_t>(record, 40),
                     number_at<std::uint64_t>(record, 32)};
  }
  return fail("this is not a zip archive: it has no end record");
}

// Sizes that do not fit 32 bits are in an extra field of id 1, in this order and only where needed.
Status read_zip64_extra(const Bytes& extra, ZipMember& member) {
  for (std::size_t at = 0; at + 4 <= extra.size();) {
    auto id = number_at<std::uint16_t>(extra, at);
    std::size_t size = number_at<std::uint16_t>(extra, at + 2);
    Bytes field = POM_TRY_IN(extra.slice(at + 4, size), "extra field");
    at += 4 + size;
    if (id != 1) continue;
    std::size_t next = 0;
    for (std::uint64_t* value : {&member.size, &member.packed_size, &member.header_offset}) {
      if (*value != 0xFFFFFFFF) continue;
      POM_REQUIRE(next + 8 <= field.size(), "the zip64 field is too short");
      *value = number_at<std::uint64_t>(field, next);
      next += 8;
    }
  }
  return {};
}

Result<Bytes> inflated(const Bytes& packed, std::uint64_t size) {
  POM_REQUIRE(size <= (packed.size() + 64) * most_deflate_growth, "{} bytes cannot unpack to {}", packed.size(), size);
  std::string out(size, '\0');
  z_stream stream{};
  POM_REQUIRE(inflateInit2(&stream, -MAX_WBITS) == Z_OK, "zlib refused to start");
  int status = Z_OK;
  std::size_t read = 0, written = 0;
  while (status == Z_OK) {
    auto in_now = uInt(std::min<std::size_t>(packed.size() - read, 1u << 30));
    auto out_now = uInt(std::min<std::size_t>(out.size() - written, 1u << 30));
    stream.next_in = const_cast<Bytef*>(packed.data() + read);
    stream.avail_in = in_now;
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + written);
    stream.avail_out = out_now;
    status = inflate(&stream, Z_NO_FLUSH);
    read += in_now - stream.avail_in;
    written += out_now - stream.avail_out;
  }
  inflateEnd(&stream);
  POM_REQUIRE(status == Z_STREAM_END && written == size, "the deflated data is damaged after {} of {} bytes", written,
              size);
  return Bytes::own(std::move(out));
}

std::uint32_t checksum(std::span<const std::uint8_t> bytes) {
  return std::uint32_t(crc32_z(0, bytes.data(), bytes.size()));
}

void put(std::string& out, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i, value >>= 8) out += char(value);
}

}  // namespace

Result<std::vector<ZipMember>> zip_members(const Bytes& file) {
  Directory where = POM_TRY(find_directory(file));
  Bytes directory = POM_TRY_IN(file.slice(where.offset, where.size), "central directory");
  std::vector<ZipMember> members;
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < where.count; ++i) {
    Bytes entry = POM_TRY_IN(directory.slice(at, central_size), "central directory, entry {}", i);
    POM_REQUIRE(number_at<std::uint32_t>(entry, 0) == central_signature, "entry {} of the directory has no signature",
                i);
    ZipMember& member = members.emplace_back();
    member.flags = number_at<std::uint16_t>(entry, 8);
    member.method = number_at<std::uint16_t>(entry, 10);
    member.crc = number_at<std::uint32_t>(entry, 16);
    member.packed_size = number_at<std::uint32_t>(entry, 20);
    member.size = number_at<std::uint32_t>(entry, 24);
    member.header_offset = number_at<std::uint32_t>(entry, 42);
    std::size_t name = number_at<std::uint16_t>(entry, 28), extra = number_at<std::uint16_t>(entry, 30),
                comment = number_at<std::uint16_t>(entry, 32);
    at += central_size;
    member.name = POM_TRY_IN(directory.slice(at, name), "name of entry {}", i).text();
    POM_TRY_IN(read_zip64_extra(POM_TRY(directory.slice(at + name, extra)), member), "member '{}'", member.name);
    at += name + extra + comment;
  }
  return members;
}

Result<Bytes> zip_contents(const Bytes& file, const ZipMember& member) {
  POM_REQUIRE((member.flags & 1) == 0, "member '{}' is encrypted", member.name);
  Bytes header = POM_TRY_IN(file.slice(member.header_offset, local_size), "member '{}'", member.name);
  POM_REQUIRE(number_at<std::uint32_t>(header, 0) == local_signature, "member '{}' has no local header", member.name);
  std::uint64_t begin =
      member.header_offset + local_size + number_at<std::uint16_t>(header, 26) + number_at<std::uint16_t>(header, 28);
  Bytes packed = POM_TRY_IN(file.slice(begin, member.packed_size), "member '{}'", member.name);
  POM_REQUIRE(member.method == 0 || member.method == 8,
              "member '{}' is packed by method {}; only 0 (stored) and 8 (deflate) are read", member.name,
              member.method);
  Bytes contents = member.method == 0 ? packed : POM_TRY_IN(inflated(packed, member.size), "member '{}'", member.name);
  POM_REQUIRE(checksum(contents.span()) == member.crc, "member '{}' is damaged: its checksum differs", member.name);
  return contents;
}

Result<std::string> zip_of(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string archive, directory;
  POM_REQUIRE(members.size() < 0xFFFF, "{} members are more than an archive holds", members.size());
  constexpr unsigned version = 20, date_1980 = 0x21;
  for (const auto& [name, contents] : members) {
    POM_REQUIRE(archive.size() + contents.size() + name.size() + local_size < 0xFFFFFFFF,
                "member '{}' makes the archive larger than 4 GB", name);
    std::string shared;
    put(shared, version, 2);
    put(shared, 0, 4);  // flags, method: stored
    put(shared, 0, 2);  // time
    put(shared, date_1980, 2);
    put(shared, checksum({reinterpret_cast<const std::uint8_t*>(contents.data()), contents.size()}), 4);
    put(shared, contents.size(), 4);
    put(shared, contents.size(), 4);
    put(shared, name.size(), 2);
    put(shared, 0, 2);  // extra
    put(directory, central_signature, 4);
    put(directory, version, 2);
    directory += shared;
    put(directory, 0, 2 + 2 + 2 + 4);  // comment, disk, attributes
    put(directory, archive.size(), 4);
    directory += name;
    put(archive, local_signature, 4);
    archive += shared + name + contents;
  }
  std::size_t begin = archive.size();
  archive += directory;
  put(archive, end_signature, 4);
  put(archive, 0, 4);
  put(archive, members.size(), 2);
  put(archive, members.size(), 2);
  put(archive, directory.size(), 4);
  put(archive, begin, 4);
  put(archive, 0, 2);
  return archive;
}

}  // namespace pomona
