// Every op against values from outside these sources: the cases that truth/make_cases.py writes (see its harness.py for
// the files of a case). POMONA_TRUTH_DIR names their folder; POMONA_TRUTH_ONLY may name one op or the start of a case.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "formats/mlpackage/package.h"
#include "formats/npy/npy.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "ops/catalogue.h"

namespace pomona {
namespace {

using nlohmann::json;

struct Case {
  std::string name, op;
  NamedTensors arrays;
  json about;
  double rtol = 0, atol = 0;
  bool expect_error = false;
};

Result<Case> read_case(const std::string& folder, const json& entry) {
  Case c{entry.at("name"), entry.at("op"), {}, {}};
  std::string base = folder + "/" + c.name;
  c.arrays = POM_TRY(npy::read_npz(POM_TRY(map_file(base + ".npz"))));
  c.about = json::parse(POM_TRY(map_file(base + ".json")).text(), nullptr, false);
  POM_REQUIRE(c.about.is_object(), "'{}.json' is damaged", base);
  c.rtol = c.arrays.at("rtol").number(0);
  c.atol = c.arrays.at("atol").number(0);
  c.expect_error = c.arrays.contains("expect_error");
  return c;
}

bool near(double got, double want, const Case& c) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want) || std::isinf(got)) return got == want;
  return std::fabs(got - want) <= c.atol + c.rtol * std::fabs(want);
}

Status compare(const Tensor& got, const Tensor& want, const Case& c) {
  POM_REQUIRE(got.sizes() == want.sizes(), "the shape is {}, not {}", to_string(got.sizes()), to_string(want.sizes()));
  bool widened = is_sub_byte(got.dtype());  // stored as one element per byte
  POM_REQUIRE(widened || got.dtype() == want.dtype(), "the dtype is {}, not {}", name(got.dtype()), name(want.dtype()));
  if (got.dtype() == DType::string) {
    POM_REQUIRE(got.text() == want.text(), "the strings differ");
    return {};
  }
  std::vector<double> a = got.numbers(), b = want.numbers();
  for (std::size_t i = 0; i < a.size(); ++i)
    POM_REQUIRE(near(a[i], b[i], c), "element {} of {} is {:.9g}, not {:.9g}", i, to_string(want.sizes()), a[i], b[i]);
  return {};
}

// Random outputs cannot be compared one by one; their range, mean and spread can.
Status compare_distribution(const Tensor& got, const json& want) {
  POM_REQUIRE(got.sizes() == want.at("shape").get<Sizes>(), "the shape is {}", to_string(got.sizes()));
  DType dtype = want.at("dtype") == "float16" ? DType::fp16 : DType::fp32;
  POM_REQUIRE(got.dtype() == dtype, "the dtype is {}, not {}", name(got.dtype()), name(dtype));
  std::vector<double> values = got.numbers();
  double count = double(values.size()), mean = 0, square = 0;
  for (double v : values) mean += v / count;
  for (double v : values) square += (v - mean) * (v - mean) / count;
  double low = want.value("low", -HUGE_VAL), high = want.value("high", HUGE_VAL);
  for (double v : values) {
    POM_REQUIRE(v >= low && v <= high, "{} is outside [{}, {}]", v, low, high);
    POM_REQUIRE(!want.value("integral", false) || v == std::trunc(v), "{} is not whole", v);
  }
  if (values.empty()) return {};
  double spread = want.value("std", std::sqrt(square)), expected = want.value("mean", mean);
  POM_REQUIRE(std::fabs(mean - expected) <= 6 * spread / std::sqrt(count) + 1e-3, "the mean is {}, not {}", mean,
              expected);
  POM_REQUIRE(std::fabs(std::sqrt(square) - spread) <= 0.15 * spread, "the standard deviation is {}, not {}",
              std::sqrt(square), spread);
  return {};
}

Status compare_plain(const Tensor& got, const json& want, const Case& c) {
  if (want.contains("string"))
    POM_REQUIRE(
        !got.is_dictionary() && got.dtype() == DType::string && got.text()[0] == want["string"].get<std::string>(),
        "the label differs from '{}'", want["string"].get<std::string>());
  if (want.contains("int64"))
    POM_REQUIRE(got.dtype() == DType::int64 && got.integers()[0] == want["int64"].get<std::int64_t>(),
                "the label differs from {}", want["int64"].get<std::int64_t>());
  if (!want.contains("dictionary")) return {};
  POM_REQUIRE(got.is_dictionary(), "the result is a {}, not a dictionary", got.type().text());
  const Tensor &keys = got.elements()[0], &values = got.elements()[1];
  const json& pairs = want["dictionary"];
  POM_REQUIRE(keys.count() == pairs.size(), "the dictionary has {} keys, not {}", keys.count(), pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    bool same = keys.dtype() == DType::string ? pairs[i][0] == keys.text()[i] : pairs[i][0] == keys.integers()[i];
    POM_REQUIRE(same, "key {} differs", i);
    // Probabilities are fp32, which the case's own text does not show.
    Case rounded = c;
    rounded.rtol = std::max(c.rtol, 1e-6);
    POM_REQUIRE(near(values.number(i), pairs[i][1].get<double>(), rounded), "value {} is {}, not {}", i,
                values.number(i), pairs[i][1].get<double>());
  }
  return {};
}

// print -> parse -> print changes nothing.
Status check_text(const Program& program) {
  std::string text = to_text(program);
  Program back = POM_TRY_IN(parse_text(text, {.find_op = mil::find_op}), "text");
  POM_REQUIRE(to_text(back) == text, "printing the parsed text gives another text:\n{}\n{}", text, to_text(back));
  return {};
}

Status run_case(const std::string& folder, const Case& c) {
  Program program = POM_TRY(mlpackage::read_package(folder + "/" + c.name + ".mlmodel"));
  POM_TRY(check_text(program));
  Function& function = program.main();
  Evaluation run(function);
  NamedTensors inputs;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    auto given = c.arrays.find("in." + input.name());
    POM_REQUIRE(given != c.arrays.end(), "the case has no input '{}'", input.name());
    if (input.type().kind == Type::Kind::state)
      run.state(input) = given->second;
    else
      inputs[input.name()] = given->second;
  }
  Tensors outputs = POM_TRY(run(inputs));
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    std::string number = std::to_string(k);
    if (auto want = c.arrays.find("out." + number); want != c.arrays.end())
      POM_TRY_IN(compare(outputs[k], want->second, c), "output {}", k);
    if (c.about.contains("outputs") && c.about["outputs"].contains(number))
      POM_TRY_IN(compare_plain(outputs[k], c.about["outputs"][number], c), "output {}", k);
    if (c.about.value("check", "") == "distribution")
      POM_TRY_IN(compare_distribution(outputs[k], c.about.at("expect").at(k)), "output {}", k);
  }
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    if (auto want = c.arrays.find("state." + input.name()); want != c.arrays.end())
      POM_TRY_IN(compare(run.state(input), want->second, c), "state '{}'", input.name());
  }
  return {};
}

struct Tally {
  int passed = 0;
  std::vector<std::string> failures;
};

TEST(Truth, EveryCaseOfEveryOp) {
  const char* folder = std::getenv("POMONA_TRUTH_DIR");
  if (!folder) GTEST_SKIP() << "POMONA_TRUTH_DIR is not set";
  const char* chosen = std::getenv("POMONA_TRUTH_ONLY");
  auto file = map_file(std::string(folder) + "/index.json");
  ASSERT_TRUE(file) << describe(file.error());
  json index = json::parse(file->text(), nullptr, false);
  ASSERT_TRUE(index.is_array());
  std::map<std::string, Tally> tallies;
  for (const json& entry : index) {
    std::string op = entry.at("op"), name = entry.at("name");
    if (chosen && op != chosen && !name.starts_with(std::string(chosen) + ".")) continue;
    auto c = read_case(folder, entry);
    ASSERT_TRUE(c) << describe(c.error());
    Status status = run_case(folder, *c);
    Tally& tally = tallies[op];
    if (bool(status) != c->expect_error)
      ++tally.passed;
    else
      tally.failures.push_back(name + (status ? ": accepted, but it must be refused" : ": " + status.error().what));
  }
  int passed = 0, failed = 0;
  std::string table;
  for (const auto& [op, tally] : tallies) {
    passed += tally.passed;
    failed += int(tally.failures.size());
    if (tally.failures.empty()) continue;
    table += op + ": " + std::to_string(tally.passed) + " right, " + std::to_string(tally.failures.size()) + " wrong\n";
    constexpr std::size_t most_shown = 5;
    for (std::size_t i = 0; i < tally.failures.size() && (chosen || i < most_shown); ++i)
      table += "    " + tally.failures[i] + "\n";
  }
  std::printf("%s%d cases of %zu ops right, %d wrong\n", table.c_str(), passed, tallies.size(), failed);
  EXPECT_GT(passed, 0);
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace pomona
