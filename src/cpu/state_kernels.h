// Steps that change or widen a state where it lies; see state_alias.h.
#pragma once
#include "cpu/kernel.h"

namespace pomona::cpu {

// Writes rows into a state's memory, of halves or floats, where `begin` and `end` say at run time.
struct StateUpdate {
  SlotNumber state, update, begin, end;
  Sizes sizes, update_sizes;
  Ints begin_mask, end_mask;
  DType dtype;  // of the state
};
Kernel state_update_kernel(const StateUpdate& update);

// Halves to floats.
Kernel widening_kernel(SlotNumber halves, SlotNumber floats, std::size_t count);

}  // namespace pomona::cpu
