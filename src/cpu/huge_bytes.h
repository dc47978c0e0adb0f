// Memory for what is read from end to end again and again: on pages of 2 MiB where the system has them, which a plain
// read loop goes through half as fast again as through pages of 4 KiB.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace pomona::cpu {

class HugeBytes {
 public:
  HugeBytes() = default;
  explicit HugeBytes(std::size_t size);  // zeros
  std::uint8_t* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  std::shared_ptr<std::uint8_t> data_;
  std::size_t size_ = 0;
};

}  // namespace pomona::cpu
