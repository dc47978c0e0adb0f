// Tensors that are computed together and written one by one: codes and scales, indices and tables.
//
// A weight's recipe makes one tensor (ir/weight.h), but encoding a weight makes several at once. parts_of() gives a
// recipe for each that share the work: the first one asked for encodes, the others take what it left. When all have
// been taken the memory is released; asking again encodes again, with the same result.
//
//   auto shelf = std::make_shared<Shelf>();
//   auto parts = parts_of("int8 per channel", {weight}, {{DType::int8, {64, 32}}, {DType::fp16, {64, 1}}}, encode,
//                         shelf);
//   parts[0].materialise();      // runs encode()
//   parts[1].materialise();      // does not
//
// Memory: what waits to be taken is held by a Shelf, which many weights share. It keeps the newest result and as many
// older ones as fit its limit. Parts of up to 1 kB are never dropped, as a package writer puts small tensors into the
// program, long before it comes to the large ones.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "ir/weight.h"

namespace pomona::compress {

class SharedParts;

class Shelf {
 public:
  explicit Shelf(std::uint64_t limit_bytes = 32 << 20) : limit_(limit_bytes) {}
  // Called by SharedParts when it has made its parts; drops the oldest of others.
  void add(const std::shared_ptr<SharedParts>& parts, std::uint64_t bytes);

 private:
  struct Entry {
    std::weak_ptr<SharedParts> parts;
    std::uint64_t bytes;
  };
  std::mutex mutex_;
  std::deque<Entry> entries_;
  std::uint64_t total_ = 0, limit_;
};

struct PartType {
  DType dtype;
  Sizes sizes;
};
// Makes the parts from the inputs' tensors. May run on any thread, but never twice at the same time.
using MakeParts = std::function<Result<Tensors>(std::span<const Tensor>)>;

// One recipe per part. `what` names the work and everything that changes its result, as Weight::Step::what does.
std::vector<Weight> parts_of(const std::string& what, const std::vector<Weight>& inputs,
                             const std::vector<PartType>& parts, MakeParts make, std::shared_ptr<Shelf> shelf);

}  // namespace pomona::compress
