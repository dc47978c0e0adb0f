#include "api/doctor.h"

#include <fmt/format.h>
#include <hwy/targets.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/memory.h"
#include "base/threads.h"

namespace pomona::api {
namespace {

std::string vector_units() {
  std::string all;
  auto supported = hwy::SupportedTargets();
  for (std::int64_t bit = 1; bit && bit <= supported; bit <<= 1)
    if (supported & bit) all += (all.empty() ? "" : ", ") + std::string(hwy::TargetName(bit));
  return all;
}

std::string processor_name() {
  std::ifstream facts("/proc/cpuinfo");
  for (std::string line; std::getline(facts, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.find(':') + 2, line.size()));
  utsname system{};
  return uname(&system) == 0 ? system.machine : "";
}

// Where a program stands on PATH; empty when it does not.
std::string on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string rest = path ? path : "";
  while (!rest.empty()) {
    std::size_t colon = std::min(rest.find(':'), rest.size());
    std::string candidate = rest.substr(0, colon) + "/" + program;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    rest.erase(0, colon + 1);
  }
  return {};
}

}  // namespace

Machine machine() {
  Machine m;
  utsname system{};
  if (uname(&system) == 0) m.system = fmt::format("{} {} {}", system.sysname, system.release, system.machine);
  m.processor = processor_name();
  m.vector_units = vector_units();
  m.cores = int(sysconf(_SC_NPROCESSORS_ONLN));
  m.threads = int(thread_count());
  m.memory_gb = double(physical_memory_bytes()) / 1e9;
  struct statvfs disk{};
  if (statvfs(".", &disk) == 0) m.free_disk_gb = double(disk.f_bavail) * double(disk.f_frsize) / 1e9;
  const char* cache = std::getenv("POMONA_CACHE");
  const char* home = std::getenv("HOME");
  m.cache_folder = cache ? cache : home ? std::string(home) + "/.cache/pomona" : "";
#ifdef __APPLE__
  m.core_ml = true;
#endif
  m.tools = {{"python3", on_path("python3"), "verify --against onnxruntime, when its onnxruntime is installed"},
             {"xcrun", on_path("xcrun"), "compiling packages with Apple's own tools"}};
  return m;
}

Result<std::vector<silicon::Concern>> examine(const std::string& path, const DoctorOptions& options) {
  const silicon::Chip* chip = POM_TRY(silicon::chip_named(*options.chip));
  Model model = POM_TRY(open_model(path));
  Target target = model.program.main().opset;
  if (!options.target->empty()) {
    auto wanted = target_named(*options.target);
    POM_REQUIRE(wanted, "there is no target '{}'", *options.target);
    target = *wanted;
  }
  return silicon::concerns_of({model.program, target, *chip});
}

}  // namespace pomona::api
