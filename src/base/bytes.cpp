#include "base/bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pomona {

Bytes Bytes::own(std::string contents) {
  auto owner = std::make_shared<const std::string>(std::move(contents));
  return {owner, {reinterpret_cast<const std::uint8_t*>(owner->data()), owner->size()}};
}

Result<Bytes> Bytes::slice(std::uint64_t offset, std::uint64_t size) const {
  POM_REQUIRE(offset <= view_.size() && size <= view_.size() - offset,
              "bytes {} to {} are wanted, but there are only {}", offset, offset + size, view_.size());
  return Bytes(owner_, view_.subspan(offset, size));
}

Result<Bytes> map_file(const std::string& path) {
  auto system_error = [&](const char* doing) {
    Fault fault = errno == EACCES || errno == ENOMEM || errno == EMFILE ? Fault::environment : Fault::request;
    return fail("cannot {} '{}': {}", doing, path, std::strerror(errno)).blame(fault);
  };
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return system_error("open");
  struct Closer {
    int file;
    ~Closer() { ::close(file); }
  } closer{file};
  struct stat status{};
  if (::fstat(file, &status) != 0) return system_error("examine");
  POM_REQUIRE(S_ISREG(status.st_mode), "'{}' is not a regular file", path);
  auto size = std::size_t(status.st_size);
  if (size == 0) return Bytes();
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  if (address == MAP_FAILED) return system_error("map");
  std::shared_ptr<const void> owner(address, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  return Bytes(std::move(owner), {static_cast<const std::uint8_t*>(address), size});
}

}  // namespace pomona
