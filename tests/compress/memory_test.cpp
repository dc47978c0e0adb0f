// Compressing a package needs memory for the weights in hand, not for all of them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "base/half.h"
#include "compress/policy.h"
#include "formats/mlpackage/package.h"
#include "ir/builder.h"
#include "ops/linear.h"

#if defined(__SANITIZE_ADDRESS__)
#define POM_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POM_SANITIZED 1
#endif
#endif

namespace pomona::compress {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t side = 2048;
constexpr std::size_t weights = 24, weight_bytes = side * side * 2;

// Megabytes of anonymous memory of this process.
double anonymous_megabytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::stod(line.substr(8)) / 1024;
  return -1;
}

// The most of it, looked at every few milliseconds.
class Peak {
 public:
  double stop() {
    stopped_ = true;
    thread_.join();
    return most_;
  }

 private:
  std::atomic<bool> stopped_ = false;
  double most_ = 0;
  std::thread thread_{[this] {
    while (!stopped_) {
      most_ = std::max(most_, anonymous_megabytes());
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }};
};

// All weights are parts of one file of random halves.
void make_file(const fs::path& path) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<std::uint16_t> halves(side * side + 64 * weights);
  for (std::uint16_t& half : halves) half = float_to_half(normal(random));
  std::ofstream file(path, std::ios::binary);
  for (std::size_t i = 0; i < weights; ++i)
    file.write(reinterpret_cast<const char*>(halves.data() + 64 * i), std::streamsize(weight_bytes));
}

Result<double> peak_of(const Bytes& file, const char* name, const fs::path& output) {
  Program program;
  Function& main = program.add_function("main", iOS18);
  Value x = main.body.add_input("x", tensor_type(DType::fp16, {1, side}));
  Builder g(main);
  for (std::size_t i = 0; i < weights; ++i) {
    Bytes bytes = POM_TRY(file.slice(i * weight_bytes, weight_bytes));
    x = g.add(mil::linear{.x = x, .weight = g.constant(POM_TRY(Weight::stored(bytes, DType::fp16, {side, side})))});
  }
  POM_TRY(Status(g.status()));
  x.set_name("y");
  main.body.set_results({x});
  double before = anonymous_megabytes();
  Peak peak;
  auto report = compress(program, {POM_TRY(make_scheme(name))});
  Status written = report ? mlpackage::write_package(program, output.string(), {.force = true}) : report.error();
  double most = peak.stop();
  POM_TRY(std::move(written));
  return most - before;
}

TEST(Memory, IsThatOfTheWeightsInHand) {
#ifdef POM_SANITIZED
  GTEST_SKIP() << "sanitized code is too slow for weights of this size, and its memory is not the program's";
#endif
  if (anonymous_megabytes() < 0) GTEST_SKIP() << "this system does not tell how much memory is anonymous";
  fs::path folder = fs::temp_directory_path() / ("pomona_memory_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  make_file(folder / "weights");
  auto file = map_file((folder / "weights").string());
  ASSERT_TRUE(file);
  // A weight's codes are 4 MB, those of all 96 MB. Scales of a whole tensor are asked for long before its codes, so
  // that codes wait on the shelf, which holds 32 MB; and a block being coded, here the whole weight, is held in fp32.
  for (auto [name, limit] :
       {std::pair("int4", 60.0), std::pair("lut4-per-tensor", 60.0), std::pair("int8-per-tensor", 125.0)}) {
    auto peak = peak_of(*file, name, folder / "output.mlpackage");
    ASSERT_TRUE(peak) << describe(peak.error());
    EXPECT_LT(*peak, limit) << name;
    RecordProperty(name, std::to_string(*peak));
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace pomona::compress
