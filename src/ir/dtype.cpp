#include "ir/dtype.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/ascii.h"

namespace pomona {
namespace {

constexpr std::array<DTypeInfo, dtype_count> dtypes{{
    {"fp16", 16, true, true, 10, 1},      {"fp32", 32, true, true, 11, 2},      {"fp64", 64, true, true, 12, 0},
    {"bf16", 16, true, true, 13, 5},      {"fp8e4m3fn", 8, true, true, 40, 16}, {"fp8e5m2", 8, true, true, 41, 17},
    {"int4", 4, false, true, 25, 8},      {"int8", 8, false, true, 21, 4},      {"int16", 16, false, true, 22, 6},
    {"int32", 32, false, true, 23, 14},   {"int64", 64, false, true, 24, 0},    {"uint1", 1, false, false, 37, 9},
    {"uint2", 2, false, false, 36, 10},   {"uint3", 3, false, false, 39, 12},   {"uint4", 4, false, false, 35, 11},
    {"uint6", 6, false, false, 38, 13},   {"uint8", 8, false, false, 31, 3},    {"uint16", 16, false, false, 32, 7},
    {"uint32", 32, false, false, 33, 15}, {"uint64", 64, false, false, 34, 0},  {"bool", 8, false, false, 1, 0},
    {"string", 0, false, false, 2, 0},
}};

constexpr std::array<TargetInfo, 6> targets{{
    {"never", "", "", 0},
    {"iOS15", "CoreML5", "macOS12", 6},
    {"iOS16", "CoreML6", "macOS13", 7},
    {"iOS17", "CoreML7", "macOS14", 8},
    {"iOS18", "CoreML8", "macOS15", 9},
    {"iOS26", "CoreML9", "macOS26", 10},
}};

template <class Match>
std::optional<DType> find_dtype(Match match) {
  for (std::size_t i = 0; i < dtypes.size(); ++i)
    if (match(dtypes[i])) return DType(i);
  return {};
}

}  // namespace

const DTypeInfo& info(DType dtype) { return dtypes[std::size_t(dtype)]; }

std::size_t element_size_bytes(DType dtype) { return dtype == DType::string ? 0 : std::max(1u, info(dtype).bits / 8); }
std::uint64_t stored_size_bytes(DType dtype, std::uint64_t count) { return (count * info(dtype).bits + 7) / 8; }

double lowest_value(DType dtype) {
  if (!info(dtype).is_signed) return 0;
  return -std::ldexp(1.0, int(info(dtype).bits) - 1);
}
double highest_value(DType dtype) {
  if (dtype == DType::boolean) return 1;
  return std::ldexp(1.0, int(info(dtype).bits) - int(info(dtype).is_signed)) - 1;
}

std::optional<DType> dtype_named(std::string_view name) {
  return find_dtype([&](const DTypeInfo& d) { return d.name == name; });
}
std::optional<DType> dtype_of_proto(int number) {
  return find_dtype([&](const DTypeInfo& d) { return d.proto == number; });
}
std::optional<DType> dtype_of_blob(int number) {
  if (number == 0) return {};
  return find_dtype([&](const DTypeInfo& d) { return d.blob == number; });
}

const TargetInfo& info(Target target) { return targets[std::size_t(target)]; }

std::optional<Target> target_named(std::string_view text) {
  std::string wanted = ascii_lower(text);
  // The sister systems of each release, in the order of `targets`.
  static constexpr std::array<std::array<std::string_view, 4>, 6> sisters{{{},
                                                                           {"tvos15", "watchos8", "", ""},
                                                                           {"tvos16", "watchos9", "", ""},
                                                                           {"tvos17", "watchos10", "visionos1", ""},
                                                                           {"tvos18", "watchos11", "visionos2", ""},
                                                                           {"tvos26", "watchos26", "visionos26", ""}}};
  for (std::size_t i = 1; i < targets.size(); ++i) {
    const TargetInfo& t = targets[i];
    bool sister = std::any_of(sisters[i].begin(), sisters[i].end(), [&](auto s) { return !s.empty() && s == wanted; });
    if (sister || ascii_lower(t.name) == wanted || ascii_lower(t.macos) == wanted || ascii_lower(t.opset) == wanted)
      return Target(i);
  }
  return {};
}

}  // namespace pomona
