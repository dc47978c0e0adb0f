// Compute plans in the forms people bring them, and what plan says to them.
#include <gtest/gtest.h>

#include "api/compute_plan.h"

namespace pomona::api {
namespace {

TEST(ComputePlan, OurExport) {
  auto placed = read_compute_plan(R"({"operations": [
    {"op": "y", "type": "ios16.relu", "preferred": "MLNeuralEngineComputeDevice", "supported": [], "cost": 0.5},
    {"op": "z", "type": "topk", "preferred": "MLCPUComputeDevice"}]})");
  ASSERT_EQ(placed.size(), 2u);
  EXPECT_EQ(placed[0].names, std::vector<std::string>{"y"});
  EXPECT_EQ(placed[0].device, "Neural Engine");
  EXPECT_EQ(placed[1].device, "CPU");
}

TEST(ComputePlan, NestedExportsAreSearched) {
  auto placed = read_compute_plan(R"({"modelStructure": {"functions": {"main": {"operations": [
    {"operatorName": "ios17.conv", "outputs": [{"name": "a"}, {"name": "b"}],
     "deviceUsage": {}, "preferredComputeDevice": {"kind": "gpu"}}]}}}})");
  ASSERT_EQ(placed.size(), 1u);
  EXPECT_EQ(placed[0].names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(placed[0].device, "GPU");
}

TEST(ComputePlan, XcodesAnnotatedText) {
  auto placed = read_compute_plan(
      "func main(tensor<fp16, [1, 8]> x) {\n"
      "  tensor<fp16, [1, 8]> y = relu(x = x)[name = string(\"act\"), SelectedBackend = string(\"ane\"), "
      "EstimatedRunTime = dict<string, fp64>({{\"ane\", 1e-6}})];\n"
      "  tensor<fp16, [1, 8]> z = tanh(x = y)[name = string(\"t\"), SelectedBackend = string(\"classic_cpu\")];\n}\n");
  ASSERT_EQ(placed.size(), 2u);
  EXPECT_EQ(placed[0].names, (std::vector<std::string>{"y", "act"}));
  EXPECT_EQ(placed[0].device, "Neural Engine");
  EXPECT_EQ(placed[1].device, "CPU");
}

TEST(ComputePlan, CoreMlInspect) {  // as its README shows it
  auto placed = read_compute_plan(
      "func main(input_ids) {\n"
      "           x_1_axis_0 = const()\n"
      "0.68% G|C  x_1_cast_fp16 = ios16.gather(batch_dims: [\"x\"])\n"
      "0.17% N|CG var_145_cast_fp16 = ios16.mul(x: [\"x_1_cast_fp16\"])\n");
  ASSERT_EQ(placed.size(), 2u);
  EXPECT_EQ(placed[0].names[0], "x_1_cast_fp16");
  EXPECT_EQ(placed[0].device, "GPU");
  EXPECT_EQ(placed[1].device, "Neural Engine");
}

TEST(ComputePlan, OtherTextsAreNone) {
  EXPECT_TRUE(read_compute_plan("").empty());
  EXPECT_TRUE(read_compute_plan("hello = world % x").empty());
  EXPECT_TRUE(read_compute_plan(R"([{"avg_ts": 12.5, "model_type": "llama 7B Q4_0", "backend": ""}])").empty());
}

}  // namespace
}  // namespace pomona::api
