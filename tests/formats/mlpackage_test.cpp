#include "formats/mlpackage/package.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "formats/mlpackage/blob.h"
#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ops/activation.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POMONA_UNDER_ADDRESS_SANITIZER 1
#endif
#endif

namespace pomona {
namespace {

#if defined(POMONA_UNDER_ADDRESS_SANITIZER)
constexpr bool under_address_sanitizer = true;
#else
constexpr bool under_address_sanitizer = false;
#endif

namespace fs = std::filesystem;
using mlpackage::read_package;
using mlpackage::write_package;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("pomona_mlpackage_" + std::to_string(::getpid()));
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

std::string contents_of(const fs::path& path) {
  auto file = map_file(path.string());
  return file ? std::string(file->text()) : "";
}
const char* model_path = "Data/com.apple.CoreML/model.mlmodel";
const char* weight_path = "Data/com.apple.CoreML/weights/weight.bin";

Tensor ramp(DType dtype, Sizes sizes, double step = 1) {
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = double(i) * step;
  return Tensor::from_numbers(dtype, std::move(sizes), numbers);
}

// Every op that a program of activations can have: a weight in the file, one in place, attributes of each kind.
void fill(Program& program, Target target, DType dtype) {
  Function& main = program.add_function("main", target);
  Value x = main.body.add_input("x", tensor_type(dtype, {1, 12, 2, 1}));
  Builder g(main);
  Value slopes = g.constant(ramp(dtype, {12}, 0.25), "slopes");
  Value y = g.add(mil::prelu{.x = x, .alpha = slopes}, "layer/0.act");
  y = g.add(mil::leaky_relu{.x = y, .alpha = 0.125});
  y = g.add(mil::gelu{.x = y, .mode = "TANH_APPROXIMATION"}, "tensor");
  y = g.add(mil::softmax{.x = y, .axis = 1}, "y");
  ASSERT_TRUE(g.status()) << describe(g.status().error());
  main.body.set_results({y});
}

void expect_same_results(const Program& a, const Program& b) {
  Tensor x = ramp(a.main().body.input(0).dtype(), {1, 12, 2, 1}, -0.5);
  auto first = Evaluation(a.main())({{"x", x}}), second = Evaluation(b.main())({{"x", x}});
  ASSERT_TRUE(first && second);
  EXPECT_TRUE((*first)[0].same_bits((*second)[0]));
}

TEST(Package, WhatIsWrittenIsReadBack) {
  Folder folder;
  for (Target target : {Target::iOS15, Target::iOS18}) {
    Program program;
    fill(program, target, target == Target::iOS15 ? DType::fp32 : DType::fp16);
    program.metadata = {"An Author", "a licence", "3", "what it is", {{"key", "value"}}};
    program.build_info = {{"tool", "1"}};
    auto written = write_package(program, folder / "a.mlpackage", {.force = true});
    ASSERT_TRUE(written) << describe(written.error());
    auto back = read_package(folder / "a.mlpackage");
    ASSERT_TRUE(back) << describe(back.error());
    expect_same_results(program, *back);
    EXPECT_EQ(back->metadata.user.at("key"), "value");
    EXPECT_EQ(back->metadata.license, "a licence");
    EXPECT_EQ(back->build_info.at("tool"), "1");
    EXPECT_EQ(back->main().opset, target);
    ASSERT_EQ(back->main().inputs.size(), 1u);
    EXPECT_EQ(back->main().inputs[0].shape, (Sizes{1, 12, 2, 1}));
  }
}

TEST(Package, WritingTwiceGivesTheSameBytes) {
  Folder folder;
  Program program;
  fill(program, Target::iOS16, DType::fp16);
  ASSERT_TRUE(write_package(program, folder / "a.mlpackage"));
  auto back = read_package(folder / "a.mlpackage");
  ASSERT_TRUE(back);
  ASSERT_TRUE(write_package(*back, folder / "b.mlpackage"));
  for (const char* file : {model_path, weight_path, "Manifest.json"})
    EXPECT_EQ(contents_of(folder.path / "a.mlpackage" / file), contents_of(folder.path / "b.mlpackage" / file)) << file;
}

TEST(Package, EqualWeightsOfSeveralFunctionsAreStoredOnce) {
  Folder folder;
  Program program;
  Weight shared(ramp(DType::fp16, {64}, 0.01));
  for (const char* name : {"first", "second"}) {
    Function& function = program.add_function(name, Target::iOS18);
    Value x = function.body.add_input("x", tensor_type(DType::fp16, {1, 64, 2, 1}));
    Builder g(function);
    function.body.set_results({g.add(mil::prelu{.x = x, .alpha = g.constant(shared)}, "y")});
    ASSERT_TRUE(g.status());
  }
  program.default_function = "second";
  ASSERT_TRUE(write_package(program, folder / "two.mlpackage"));
  EXPECT_EQ(fs::file_size(folder.path / "two.mlpackage" / weight_path), 64u + 64 + 128);
  auto back = read_package(folder / "two.mlpackage");
  ASSERT_TRUE(back) << describe(back.error());
  EXPECT_EQ(back->default_function, "second");
  EXPECT_EQ(back->functions.size(), 2u);
}

TEST(Package, FailedWritingLeavesTheOldOne) {
  Folder folder;
  Program program;
  fill(program, Target::iOS16, DType::fp16);
  ASSERT_TRUE(write_package(program, folder / "a.mlpackage"));
  std::string before = contents_of(folder.path / "a.mlpackage" / model_path);
  auto refused = write_package(program, folder / "a.mlpackage");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, testing::EndsWith("exists"));

  Program broken;
  Function& main = broken.add_function("main", Target::iOS16);
  Value x = main.body.add_input("x", tensor_type(DType::fp16, {1, 12, 2, 1}));
  Builder g(main);
  Weight bad = Weight::derived({"bad", DType::fp16, {12}, {}, [](std::span<const Tensor>) -> Result<Tensor> {
                                  return fail("this weight cannot be computed");
                                }});
  main.body.set_results({g.add(mil::prelu{.x = x, .alpha = g.constant(bad)}, "y")});
  auto failed = write_package(broken, folder / "a.mlpackage", {.force = true});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().what, "this weight cannot be computed");
  EXPECT_EQ(contents_of(folder.path / "a.mlpackage" / model_path), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path), {}), 1);

  fs::create_directories(folder.path / "documents" / "mine");
  EXPECT_FALSE(write_package(program, folder / "documents", {.force = true}));
  EXPECT_TRUE(fs::exists(folder.path / "documents" / "mine"));
}

TEST(Package, IllegalNamesOfInputsAreRefused) {
  Folder folder;
  Program program;
  Function& main = program.add_function("main", Target::iOS16);
  Value x = main.body.add_input("input.1", tensor_type(DType::fp16, {2}));
  Builder g(main);
  main.body.set_results({g.add(mil::relu{.x = x}, "y")});
  auto written = write_package(program, folder / "a.mlpackage");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().what, "the name 'input.1' of an input is not one that MIL allows");
}

TEST(Package, UnknownSizesNeedLimits) {
  Folder folder;
  Program program;
  Function& main = program.add_function("main", Target::iOS16);
  Value x = main.body.add_input("x", tensor_type(DType::fp32, {1, Dim::named("n")}));
  Builder g(main);
  main.body.set_results({g.add(mil::relu{.x = x}, "y")});
  EXPECT_FALSE(write_package(program, folder / "a.mlpackage"));
  main.inputs.push_back({.name = "x", .shape = {1, 4}, .ranges = {{1, 1}, {1, 64}}});
  auto written = write_package(program, folder / "a.mlpackage");
  ASSERT_TRUE(written) << describe(written.error());
  auto back = read_package(folder / "a.mlpackage");
  ASSERT_TRUE(back);
  EXPECT_EQ(back->main().inputs[0].ranges, (std::vector<Feature::Range>{{1, 1}, {1, 64}}));
  EXPECT_FALSE(back->main().body.input(0).shape()[1].known());
}

TEST(Blob, EveryDtypeComesBackBitForBit) {
  for (std::size_t d = 0; d < dtype_count; ++d) {
    DType dtype = DType(d);
    if (info(dtype).blob == 0) continue;
    std::vector<double> numbers(37);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers[i] =
          is_float(dtype) ? double(i) / 8 : double(std::int64_t(i * 5) % (1 << std::min(info(dtype).bits, 20u)));
    Tensor tensor = Tensor::from_numbers(dtype, {37}, numbers);
    mlpackage::BlobLayout layout;
    std::uint64_t offset = layout.add(dtype, 37);
    std::string file(layout.size, '\0');
    auto put = [&](std::uint64_t at, std::span<const std::uint8_t> bytes) {
      std::copy(bytes.begin(), bytes.end(), file.begin() + std::ptrdiff_t(at));
    };
    put(0, mlpackage::blob_header(layout.count));
    put(offset, mlpackage::blob_record(dtype, 37, offset));
    put(offset + 64, stored_form(tensor).span());
    Bytes bytes = Bytes::own(file);
    auto weight = mlpackage::read_blob(bytes, offset, dtype, {37});
    ASSERT_TRUE(weight) << describe(weight.error());
    auto back = weight->materialise();
    ASSERT_TRUE(back);
    EXPECT_TRUE(back->same_bits(tensor)) << name(dtype);
    EXPECT_FALSE(mlpackage::read_blob(bytes, offset, dtype, {36 - 8}));
    EXPECT_FALSE(mlpackage::read_blob(bytes, offset + 64, dtype, {37}));
    EXPECT_FALSE(mlpackage::read_blob(bytes, ~0ull - 10, dtype, {37}));
  }
}

TEST(Package, EveryTruncationIsAnError) {
  Folder folder;
  Program program;
  fill(program, Target::iOS18, DType::fp16);
  ASSERT_TRUE(write_package(program, folder / "a.mlpackage"));
  std::string model = contents_of(folder.path / "a.mlpackage" / model_path);
  std::string weights = (folder.path / "a.mlpackage" / "Data/com.apple.CoreML/weights").string();
  ASSERT_TRUE(mlpackage::read_model(Bytes::own(model), weights));
  for (std::size_t length = 0; length < model.size(); ++length)
    ASSERT_FALSE(mlpackage::read_model(Bytes::own(model.substr(0, length)), weights)) << length;
  std::string blobs = contents_of(folder.path / "a.mlpackage" / weight_path);
  for (std::size_t length = 0; length < blobs.size(); ++length) {
    std::ofstream(folder.path / "a.mlpackage" / weight_path, std::ios::binary) << blobs.substr(0, length);
    ASSERT_FALSE(mlpackage::read_model(Bytes::own(model), weights)) << length;
  }
  std::string manifest = contents_of(folder.path / "a.mlpackage/Manifest.json");
  for (std::size_t length = 0; length + 3 < manifest.size(); ++length) {
    std::ofstream(folder.path / "a.mlpackage/Manifest.json", std::ios::binary) << manifest.substr(0, length);
    ASSERT_FALSE(read_package(folder / "a.mlpackage")) << length;
  }
}

TEST(Package, DamagedBytesNeverCrash) {
  Folder folder;
  Program program;
  fill(program, Target::iOS15, DType::fp32);
  ASSERT_TRUE(write_package(program, folder / "a.mlpackage"));
  std::string model = contents_of(folder.path / "a.mlpackage" / model_path);
  std::string weights = (folder.path / "a.mlpackage" / "Data/com.apple.CoreML/weights").string();
  int refused = 0;
  for (std::size_t at = 0; at < model.size(); ++at)
    for (int bit : {0, 3, 7}) {
      std::string damaged = model;
      damaged[at] = char(damaged[at] ^ 1 << bit);
      refused += !mlpackage::read_model(Bytes::own(std::move(damaged)), weights);
    }
  EXPECT_GT(refused, int(model.size()));
}

std::uint64_t anonymous_kilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8));
  return 0;
}

TEST(Package, WritingNeedsMemoryForTheTensorsInHandOnly) {
  if (anonymous_kilobytes() == 0) GTEST_SKIP() << "this system does not tell anonymous memory";
  Folder folder;
  constexpr std::int64_t tensors = 16, elements = 8 << 20;  // of 32 MB each, 16 when written
  std::ofstream(folder.path / "source") << "";
  fs::resize_file(folder.path / "source", tensors * elements * 4);
  auto source = map_file(folder / "source");
  ASSERT_TRUE(source);
  std::uint64_t before = anonymous_kilobytes();
  std::atomic<std::uint64_t> most = 0;
  auto convert = [&](std::span<const Tensor> in) -> Result<Tensor> {
    Tensor half = in[0].converted(DType::fp16);
    most = std::max(most.load(), anonymous_kilobytes());
    return half;
  };
  Program program;
  Function& main = program.add_function("main", Target::iOS17);
  Value x = main.body.add_input("x", tensor_type(DType::fp16, {1, elements, 1, 1}));
  Builder g(main);
  for (std::int64_t i = 0; i < tensors; ++i) {
    auto part = source->slice(std::uint64_t(i * elements * 4), elements * 4);
    ASSERT_TRUE(part);
    auto weight = Weight::stored(*part, DType::fp32, {elements});
    ASSERT_TRUE(weight);
    Weight half = Weight::derived({"cast to fp16", DType::fp16, {elements}, {*weight}, convert});
    x = g.add(mil::prelu{.x = x, .alpha = g.constant(half)}, i + 1 < tensors ? "" : "y");
  }
  ASSERT_TRUE(g.status()) << describe(g.status().error());
  main.body.set_results({x});
  std::uint64_t calls = 0, last = 0;
  auto written =
      write_package(program, folder / "large.mlpackage", {.progress = [&](std::uint64_t done, std::uint64_t all) {
                      EXPECT_GT(done, last);
                      EXPECT_LE(done, all);
                      last = done;
                      ++calls;
                    }});
  ASSERT_TRUE(written) << describe(written.error());
  EXPECT_GE(calls, 4u);
  EXPECT_GT(most, before);
  // The address sanitizer keeps freed memory for a while, so its builds show nothing here.
  if (!under_address_sanitizer) {
    EXPECT_LT(most, before + (100 << 10));  // the result is 256 MB; a batch is 64 MB
  }
  EXPECT_EQ(fs::file_size(folder.path / "large.mlpackage" / weight_path), 64 + tensors * (64 + elements * 2u));
}

// Protobuf by hand: a number, and a field of bytes.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value > 127; value >>= 7) bytes += char((value & 127) | 128);
  return bytes + char(value);
}
std::string field(unsigned number, const std::string& contents) {
  return varint(number << 3 | 2) + varint(contents.size()) + contents;
}

TEST(Package, OtherKindsOfModelsAreNamed) {
  auto refusal = [](unsigned kind) {
    auto result = mlpackage::read_model(Bytes::own(field(kind, "")), "");
    return result ? "" : result.error().what;
  };
  EXPECT_EQ(refusal(500), "the model is a neural network, not an ML Program");
  EXPECT_EQ(refusal(302), "the model is a tree ensemble regressor, not an ML Program");
  EXPECT_EQ(refusal(3000), "the model is a serialized model, not an ML Program");
  EXPECT_EQ(refusal(202), "the model is a pipeline of 0 models: ");
  EXPECT_EQ(refusal(502), "the program has no function");
}

std::string text_value(const std::string& text) {
  return field(2, field(1, "\x08\x02")) + field(3, field(1, field(4, field(1, text))));
}
std::string named(const std::string& name, const std::string& tensor_type) {
  return field(1, name) + field(2, field(1, tensor_type));
}

// What coremltools never writes: unpacked numbers, a scalar attribute as a vector of another dtype, values in place,
// defaults left out.
TEST(Package, ForeignChoicesAreRead) {
  const std::string vector_of_two = std::string("\x08\x0B\x10\x01") + field(3, field(1, "\x08\x02"));
  const std::string vector_of_one = std::string("\x08\x0B\x10\x01") + field(3, field(1, "\x08\x01"));
  auto floats = [](std::initializer_list<float> values) {
    std::string bytes;
    for (float value : values) bytes += "\x0D" + std::string(reinterpret_cast<const char*>(&value), 4);
    return field(3, field(1, field(1, bytes)));
  };
  std::string axis = field(2, field(1, vector_of_one)) + floats({0});
  std::string softmax =
      field(1, "softmax") +
      field(2, field(1, "x") + field(2, field(1, field(2, field(2, field(1, vector_of_two)) + floats({1, 1}))))) +
      field(2, field(1, "axis") + field(2, field(1, field(2, axis)))) + field(3, named("h", vector_of_two));
  std::string gelu = field(1, "gelu") + field(2, field(1, "x") + field(2, field(1, field(1, "h")))) +
                     field(3, named("y", vector_of_two)) + field(5, field(1, "name") + field(2, text_value("last")));
  std::string block = field(2, "y") + field(3, softmax) + field(3, gelu);
  std::string function = field(2, "CoreML6") + field(3, field(1, "CoreML6") + field(2, block));
  std::string program = field(2, field(1, "main") + field(2, function));
  auto read = mlpackage::read_model(Bytes::own(field(502, program)), "");
  ASSERT_TRUE(read) << describe(read.error());
  const Node& last = *read->main().body.nodes().back();
  EXPECT_EQ(last.name, "last");
  EXPECT_EQ(std::get<std::string>(last.attribute("mode")), "EXACT");
  const Node& first = *last.input("x").producer();
  EXPECT_EQ(std::get<std::int64_t>(first.attribute("axis")), 0);
  auto results = Evaluation(read->main())({});
  ASSERT_TRUE(results);
  EXPECT_NEAR((*results)[0].number(1), 0.5 * 0.691462, 1e-5);
}

TEST(Package, AManifestMayNotLeadOutside) {
  Folder folder;
  fs::create_directories(folder.path / "a.mlpackage" / "Data");
  std::ofstream(folder.path / "model.mlmodel") << "x";
  std::ofstream(folder.path / "a.mlpackage/Manifest.json")
      << R"({"fileFormatVersion": "1.0.0", "rootModelIdentifier": "a", "itemInfoEntries": {"a": {"author": "com.apple.CoreML",
             "name": "model.mlmodel", "description": "", "path": "../../model.mlmodel"}}})";
  auto read = read_package(folder / "a.mlpackage");
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().what, testing::HasSubstr("outside the package"));
}

}  // namespace
}  // namespace pomona
