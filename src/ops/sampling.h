// The grids that image ops sample their input on; the table is in image.h.
//
//   Grid grid = POM_TRY(grid_named("ALIGN_CORNERS"));
//   grid_point(grid, 1, 5, 2)              // 0.5: the third of 5 points over 2 samples
#pragma once
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace pomona::mil {

enum class Grid : std::uint8_t { strict_align_corners, align_corners, plain, offset_corners, unalign_corners };
// From sampling_mode's spelling; DEFAULT is `plain`.
Result<Grid> grid_named(std::string_view sampling_mode);
// Point i of `count` on the samples 0 .. last, not clamped to them. A box from a to b is the grid on b-a, moved by a.
double grid_point(Grid grid, double last, std::int64_t count, std::int64_t i);

}  // namespace pomona::mil
