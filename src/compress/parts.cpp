#include "compress/parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace pomona::compress {
namespace {

constexpr std::size_t always_kept_bytes = 1024;

}  // namespace

class SharedParts : public std::enable_shared_from_this<SharedParts> {
 public:
  SharedParts(std::size_t count, MakeParts make, std::shared_ptr<Shelf> shelf)
      : parts_(count), taken_(count), make_(std::move(make)), shelf_(std::move(shelf)) {}

  Result<Tensor> take(std::size_t i, std::span<const Tensor> inputs) {
    std::uint64_t made = 0;
    Tensor part = POM_TRY(take_or_make(i, inputs, made));
    // Outside of this object's lock, as the shelf locks others.
    if (made) shelf_->add(shared_from_this(), made);
    return part;
  }

  void drop() {
    std::lock_guard lock(mutex_);
    drop_large();
  }

 private:
  Result<Tensor> take_or_make(std::size_t i, std::span<const Tensor> inputs, std::uint64_t& made) {
    std::lock_guard lock(mutex_);
    if (!parts_[i]) {
      Tensors fresh = POM_TRY(make_(inputs));
      for (std::size_t k = 0; k < parts_.size(); ++k) {
        made += fresh[k].size_bytes();
        parts_[k] = std::move(fresh[k]);
      }
      std::fill(taken_.begin(), taken_.end(), false);
    }
    Tensor part = *parts_[i];
    taken_[i] = true;
    bool waits = false;
    for (std::size_t k = 0; k < parts_.size(); ++k) waits = waits || (parts_[k] && !taken_[k]);
    if (!waits) drop_large();
    return part;
  }

  void drop_large() {
    for (std::optional<Tensor>& part : parts_)
      if (part && part->size_bytes() > always_kept_bytes) part.reset();
  }

  std::mutex mutex_;
  std::vector<std::optional<Tensor>> parts_;
  std::vector<bool> taken_;
  MakeParts make_;
  std::shared_ptr<Shelf> shelf_;
};

void Shelf::add(const std::shared_ptr<SharedParts>& parts, std::uint64_t bytes) {
  std::vector<std::shared_ptr<SharedParts>> oldest;
  {
    std::lock_guard lock(mutex_);
    entries_.push_back({parts, bytes});
    total_ += bytes;
    while (total_ > limit_ && entries_.size() > 1) {
      total_ -= entries_.front().bytes;
      auto entry = entries_.front().parts.lock();
      if (entry && entry != parts) oldest.push_back(std::move(entry));
      entries_.pop_front();
    }
  }
  for (const auto& each : oldest) each->drop();
}

std::vector<Weight> parts_of(const std::string& what, const std::vector<Weight>& inputs,
                             const std::vector<PartType>& parts, MakeParts make, std::shared_ptr<Shelf> shelf) {
  auto shared = std::make_shared<SharedParts>(parts.size(), std::move(make), std::move(shelf));
  std::vector<Weight> weights;
  for (std::size_t i = 0; i < parts.size(); ++i)
    weights.push_back(
        Weight::derived({fmt::format("part {} of {}", i, what), parts[i].dtype, parts[i].sizes, inputs,
                         [shared, i](std::span<const Tensor> tensors) { return shared->take(i, tensors); }}));
  return weights;
}

}  // namespace pomona::compress
