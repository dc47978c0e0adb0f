// States read and written as a whole, where they cannot be used in place (see state_alias.h).
#include "ops/state.h"

#include <cstring>

#include "base/half.h"
#include "base/threads.h"
#include "cpu/kernels/kernels.h"

namespace pomona::cpu {
namespace {

constexpr std::size_t elements_per_task = 65536;

Kernel plan_read_state(const mil::read_state& op, PlanContext& at) {
  Value state = op.input;
  SlotNumber y = at.result();
  std::size_t count = std::size_t(element_count(at.result_sizes())), bytes = element_size_bytes(state.dtype());
  bool half = state.dtype() == DType::fp16;
  auto run = [=](const Frame& f) {
    const std::uint8_t* from = f.interpreter->state(state).data();
    parallel_for(count, elements_per_task, [&](std::size_t begin, std::size_t end) {
      if (half)
        halves_to_floats({reinterpret_cast<const std::uint16_t*>(from) + begin, end - begin},
                         f.write<float>(y) + begin);
      else
        std::memcpy(f.write<std::uint8_t>(y) + begin * bytes, from + begin * bytes, (end - begin) * bytes);
    });
  };
  return {.run = std::move(run), .name = "read_state"};
}

Kernel plan_write_state(const mil::write_state& op, PlanContext& at) {
  Value state = op.input;
  SlotNumber x = at.source(op.data);
  std::size_t count = std::size_t(element_count(known_sizes(op.data.shape()))),
              bytes = element_size_bytes(state.dtype());
  if (op.data.dtype() != state.dtype()) return {};
  bool half = state.dtype() == DType::fp16;
  auto run = [=](const Frame& f) {
    std::uint8_t* to = f.interpreter->state(state).mutable_data();
    parallel_for(count, elements_per_task, [&](std::size_t begin, std::size_t end) {
      if (half)
        floats_to_halves({f.read<float>(x) + begin, end - begin}, reinterpret_cast<std::uint16_t*>(to) + begin);
      else
        std::memcpy(to + begin * bytes, f.read<std::uint8_t>(x) + begin * bytes, (end - begin) * bytes);
    });
  };
  return {.run = std::move(run), .name = "write_state"};
}

}  // namespace

std::vector<KernelRule> state_kernels() {
  return {kernel<mil::read_state, plan_read_state>(), kernel<mil::write_state, plan_write_state>()};
}

}  // namespace pomona::cpu
