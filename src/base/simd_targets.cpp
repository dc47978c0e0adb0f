// Which instruction sets Highway may choose from, on x86. Highway's own library knows it too, but measures the
// processor's clock whenever it is loaded, for benchmarks that are not run here: more than a third of the time that the
// program takes to start. With the two functions here nothing of it is needed and it is not loaded.
#include <hwy/targets.h>

#if HWY_ARCH_X86

namespace hwy {

namespace {

std::int64_t targets_of_processor() {
  __builtin_cpu_init();
  std::int64_t targets = HWY_ENABLED_BASELINE;
  auto add = [&](bool supported, std::int64_t target) {
    if (supported) targets |= target;
    return supported;
  };
  // Each set holds those before it.
  bool sse4 = add(__builtin_cpu_supports("ssse3"), HWY_SSSE3) &&
              add(__builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("sse4.2") &&
                      __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("aes"),
                  HWY_SSE4);
  bool avx2 = sse4 && add(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                              __builtin_cpu_supports("f16c") && __builtin_cpu_supports("lzcnt"),
                          HWY_AVX2);
  if (avx2)
    add(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd"),
        HWY_AVX3);
  return targets;
}

}  // namespace

std::int64_t SupportedTargets() {
  static const std::int64_t targets = targets_of_processor();
  return targets;
}

ChosenTarget& GetChosenTarget() {
  static ChosenTarget chosen;
  return chosen;
}

}  // namespace hwy

#endif
