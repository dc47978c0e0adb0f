#include "kernel_case.h"

#include <cmath>
#include <random>

#include "base/threads.h"
#include "cpu/runner.h"
#include "ir/evaluate.h"

namespace pomona::cpu {
namespace {

Tensor random_input(char kind, const Sizes& sizes, DType floating, const Case& c, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  std::normal_distribution<double> normal;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    double v = normal(random);
    if (kind == 'i') v = std::round(v * 4);
    if (kind == 'b') v = v > 0;
    if (kind == 'n') v = random() % 4;
    if (c.positive && kind == 'F') v = std::fabs(v) + 0.01;
    numbers[i] = v;
  }
  constexpr double specials[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0, 1e-30, -1e-30, 100, -100, 1e30, -1e30, 5, 0.5};
  if (c.specials && kind == 'F')
    for (std::size_t i = 0; i < numbers.size(); i += 3) numbers[i] = specials[random() % std::size(specials)];
  DType dtype = kind == 'F' ? floating : kind == 'b' ? DType::boolean : DType::int32;
  return Tensor::from_numbers(dtype, sizes, numbers);
}

double largest_finite(const Tensor& tensor) {
  double most = 0;
  for (double v : tensor.numbers())
    if (std::isfinite(v)) most = std::max(most, std::fabs(v));
  return most;
}

void expect_close(const Tensor& got, const Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(got.type().text(), expected.type().text()) << what;
  if (!is_float(got.dtype())) {
    EXPECT_TRUE(got.same_bits(expected)) << what;
    return;
  }
  double scale = std::min(largest_finite(expected), 1e4);
  for (std::size_t i = 0; i < got.count(); ++i) {
    double a = got.number(i), b = expected.number(i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    ASSERT_LE(std::fabs(a - b), tolerance * (scale + std::fabs(b)))
        << what << ": element " << i << " is " << a << ", not " << b;
  }
}

struct Compared {
  Program program;
  NamedTensors inputs;
};
void build(const Case& c, DType floating, Compared& out) {
  Function& main = out.program.add_function("main", c.opset);
  Values values;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    auto [kind, sizes] = c.inputs[i];
    std::string name = "x" + std::to_string(i);
    Tensor tensor = random_input(kind, sizes, floating, c, unsigned(i + 1));
    values.push_back(main.body.add_input(name, tensor.type()));
    out.inputs[name] = tensor;
  }
  Builder g(main);
  Values results = c.build(g, values);
  ASSERT_TRUE(g.status()) << describe(g.status().error());
  main.body.set_results(results);
}

Tensors run(const Compared& c, RunOptions options, bool expect_kernels = false) {
  Runner runner(const_cast<Program&>(c.program).main(), options);
  runner.set_profiling(true);
  auto first = runner.run(c.inputs);
  if (!first) {
    ADD_FAILURE() << describe(first.error());
    return {};
  }
  auto second = runner.run(c.inputs);
  for (std::size_t i = 0; i < first->size(); ++i) EXPECT_TRUE((*first)[i].same_bits((*second)[i])) << "run again";
  for (const StepTime& step : runner.profile())
    EXPECT_TRUE(!expect_kernels || step.kernel != "eval") << step.label << " has no kernel";
  return *first;
}

}  // namespace

Value random_constant(Builder& g, Value like, Sizes sizes, unsigned seed, double scale) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  for (double& v : numbers) v = normal(random) * scale;
  return g.constant(Tensor::from_numbers(like.dtype(), std::move(sizes), numbers));
}

TEST_P(KernelCase, AgreesWithTheReference) {
  const Case& c = GetParam();
  for (DType floating : {DType::fp32, DType::fp16}) {
    if (floating == DType::fp16 && !c.half) continue;
    Compared compared;
    build(c, floating, compared);
    if (HasFatalFailure()) return;
    Tensors expected = run(compared, {.rounding = Rounding::strict, .kernels = false});
    for (Rounding rounding : {Rounding::strict, Rounding::fast}) {
      set_thread_count(1);
      Tensors got = run(compared, {.rounding = rounding}, true);
      set_thread_count(3);
      Tensors threaded = run(compared, {.rounding = rounding});
      set_thread_count(1);
      ASSERT_EQ(got.size(), expected.size());
      double tolerance = floating == DType::fp32 ? c.tolerance : rounding == Rounding::strict ? 0x1p-10 : 0x1p-7;
      for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_TRUE(got[i].same_bits(threaded[i])) << "threads change result " << i;
        expect_close(got[i], expected[i], std::max(tolerance, c.tolerance),
                     std::string(name(floating)) + (rounding == Rounding::strict ? " strict" : " fast"));
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace pomona::cpu
