#include "formats/onnx/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <protozero/pbf_writer.hpp>
#include <set>
#include <variant>

#include "formats/onnx/rule.h"
#include "formats/onnx/sort.h"
#include "formats/onnx/tensor.h"
#include "ir/border.h"
#include "ir/evaluate.h"

namespace pomona {
namespace {

using protozero::pbf_writer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Messages of onnx.proto, written by hand so that the reader is not tested with itself.
std::string message(const std::function<void(pbf_writer&)>& write) {
  std::string text;
  pbf_writer writer(text);
  write(writer);
  return text;
}
std::string int_attribute(const std::string& name, std::int64_t value) {
  return message([&](pbf_writer& w) {
    w.add_string(1, name);
    w.add_int64(3, value);
    w.add_int32(20, 2);
  });
}
std::string graph_attribute(const std::string& name, const std::string& graph) {
  return message([&](pbf_writer& w) {
    w.add_string(1, name);
    w.add_message(6, graph);
    w.add_int32(20, 5);
  });
}
std::string node(const std::string& op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const std::vector<std::string>& attributes = {}, const std::string& name = {},
                 const std::string& domain = {}) {
  return message([&](pbf_writer& w) {
    for (const auto& i : inputs) w.add_string(1, i);
    for (const auto& o : outputs) w.add_string(2, o);
    if (!name.empty()) w.add_string(3, name);
    w.add_string(4, op);
    for (const auto& a : attributes) w.add_message(5, a);
    if (!domain.empty()) w.add_string(7, domain);
  });
}
// A dim is a number, or a name.
using Dims = std::vector<std::variant<int, std::string>>;
std::string value_info(const std::string& name, int elem, const Dims& dims) {
  std::string shape = message([&](pbf_writer& w) {
    for (const auto& d : dims)
      w.add_message(1, message([&](pbf_writer& dim) {
                      if (auto* size = std::get_if<int>(&d))
                        dim.add_int64(1, *size);
                      else if (!std::get<std::string>(d).empty())
                        dim.add_string(2, std::get<std::string>(d));
                    }));
  });
  std::string tensor = message([&](pbf_writer& w) {
    w.add_int32(1, elem);
    w.add_message(2, shape);
  });
  return message([&](pbf_writer& w) {
    w.add_string(1, name);
    w.add_message(2, message([&](pbf_writer& type) { type.add_message(1, tensor); }));
  });
}
std::string int64_tensor(const std::string& name, const std::vector<std::int64_t>& values, bool scalar = false) {
  return message([&](pbf_writer& w) {
    if (!scalar) w.add_int64(1, std::int64_t(values.size()));
    w.add_int32(2, 7);
    w.add_packed_int64(7, values.begin(), values.end());
    w.add_string(8, name);
  });
}
std::string float_tensor(const std::string& name, const std::vector<float>& values) {
  return message([&](pbf_writer& w) {
    w.add_int64(1, std::int64_t(values.size()));
    w.add_int32(2, 1);
    w.add_string(8, name);
    w.add_bytes(9, reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  });
}
struct GraphParts {
  std::vector<std::string> nodes, inputs, outputs, initializers;
};
std::string graph(const GraphParts& parts) {
  return message([&](pbf_writer& w) {
    for (const auto& n : parts.nodes) w.add_message(1, n);
    w.add_string(2, "graph");
    for (const auto& t : parts.initializers) w.add_message(5, t);
    for (const auto& i : parts.inputs) w.add_message(11, i);
    for (const auto& o : parts.outputs) w.add_message(12, o);
  });
}
std::string model(const GraphParts& parts, int opset = 18, const std::vector<std::string>& functions = {}) {
  return message([&](pbf_writer& w) {
    w.add_int64(1, 9);
    w.add_message(7, graph(parts));
    w.add_message(8, message([&](pbf_writer& o) { o.add_int64(2, opset); }));
    w.add_message(8, message([&](pbf_writer& o) {
                    o.add_string(1, "local");
                    o.add_int64(2, 1);
                  }));
    for (const auto& f : functions) w.add_message(25, f);
  });
}

Result<Program> read(const std::string& bytes, const onnx::ImportOptions& options = {}) {
  return onnx::read_onnx(Bytes::own(bytes), "", options);
}
std::string refusal(const std::string& bytes, const onnx::ImportOptions& options = {}) {
  auto program = read(bytes, options);
  return program ? "it was read" : describe(program.error());
}
std::vector<double> run(const std::string& bytes, const NamedTensors& inputs) {
  auto program = read(bytes);
  EXPECT_TRUE(program) << describe(program.error());
  if (!program) return {};
  Evaluation evaluation(program->main());
  auto results = evaluation(inputs);
  EXPECT_TRUE(results) << describe(results.error());
  return results ? (*results)[0].numbers() : std::vector<double>{};
}
std::size_t nodes_of(const Program& program, std::string_view op) {
  std::size_t count = 0;
  for (const auto& n : program.main().body.nodes()) count += n->op->name == op;
  return count;
}

TEST(Onnx, ReadsNodesInAnyOrderAndKeepsNames) {
  GraphParts parts;
  parts.nodes = {node("Relu", {"a"}, {"y"}, {}, "second"), node("Neg", {"x"}, {"a"}, {}, "first")};
  parts.inputs = {value_info("x", 1, {"n", ""})};
  parts.outputs = {value_info("y", 1, {"n", ""})};
  auto program = read(model(parts));
  ASSERT_TRUE(program) << describe(program.error());
  const Block& body = program->main().body;
  EXPECT_EQ(body.results()[0].name(), "y");
  EXPECT_EQ(body.results()[0].producer()->source, "ONNX Relu 'second'");
  EXPECT_EQ(to_string(body.results()[0].shape()), "[n, x_1]");
  EXPECT_EQ(run(model(parts), {{"x", Tensor::from_numbers(DType::fp32, {1, 2}, {-3, 4})}}),
            (std::vector<double>{3, 0}));
}

TEST(Onnx, ReportsEveryMissingOperatorAtOnce) {
  GraphParts parts;
  parts.nodes = {node("Foo", {"x"}, {"a"}, {}, "f1"), node("Foo", {"a"}, {"b"}, {}, "f2"),
                 node("Bar", {"b"}, {"y"}, {}, "b1", "com.example")};
  parts.inputs = {value_info("x", 1, {2})};
  parts.outputs = {value_info("y", 1, {2})};
  EXPECT_EQ(refusal(model(parts)),
            "error: 2 operators are not supported:\n    2 x Foo (operator set 18), first: ONNX Foo 'f1'\n"
            "    1 x com.example::Bar (operator set 1), first: ONNX com.example::Bar 'b1'\n"
            "  try: --custom-op DOMAIN::NAME=FILE.mil, for an operator that you can say in MIL");
}

TEST(Onnx, RefusesAttributesItDoesNotKnow) {
  GraphParts parts;
  parts.nodes = {node("Softmax", {"x"}, {"y"}, {int_attribute("axes", 1)}, "s")};
  parts.inputs = {value_info("x", 1, {2, 2})};
  parts.outputs = {value_info("y", 1, {2, 2})};
  EXPECT_THAT(refusal(model(parts)),
              HasSubstr("attribute 'axes' is not part of this operator at operator set 18 (did you mean 'axis'?)"));
}

TEST(Onnx, AttributesThatBecameInputsAreKnownUpToThen) {
  GraphParts parts;
  parts.nodes = {node("ReduceSum", {"x"}, {"y"}, {int_attribute("axes", 1), int_attribute("keepdims", 0)})};
  parts.inputs = {value_info("x", 1, {2, 2})};
  parts.outputs = {value_info("y", 1, {2})};
  NamedTensors x{{"x", Tensor::from_numbers(DType::fp32, {2, 2}, {1, 2, 3, 4})}};
  EXPECT_EQ(run(model(parts, 12), x), (std::vector<double>{3, 7}));
  EXPECT_THAT(refusal(model(parts, 13)), HasSubstr("attribute 'axes' is not part of this operator"));
}

TEST(Onnx, FoldsShapeArithmeticOnSymbols) {
  GraphParts parts;
  parts.nodes = {node("Shape", {"x"}, {"s"}), node("Gather", {"s", "zero"}, {"batch"}),
                 node("Unsqueeze", {"batch", "axis0"}, {"b1"}),
                 node("Concat", {"b1", "rest"}, {"target"}, {int_attribute("axis", 0)}),
                 node("Reshape", {"x", "target"}, {"y"})};
  parts.initializers = {int64_tensor("zero", {0}, true), int64_tensor("axis0", {0}), int64_tensor("rest", {2, 6})};
  parts.inputs = {value_info("x", 1, {"batch", 3, 4})};
  parts.outputs = {value_info("y", 1, {"batch", 2, 6})};
  auto program = read(model(parts));
  ASSERT_TRUE(program) << describe(program.error());
  const Node& reshape = *program->main().body.results()[0].producer();
  EXPECT_EQ(reshape.op->name, "reshape");
  EXPECT_EQ(reshape.input("shape").integers(), (Ints{-1, 2, 6}));
  EXPECT_EQ(nodes_of(*program, "gather"), 0u);
}

TEST(Onnx, SliceTakesTheEndsOfInt64AsNoLimit) {
  GraphParts parts;
  parts.nodes = {node("Slice", {"x", "starts", "ends", "axes", "steps"}, {"y"})};
  parts.initializers = {int64_tensor("starts", {-1}), int64_tensor("ends", {INT64_MIN + 1}), int64_tensor("axes", {0}),
                        int64_tensor("steps", {-2})};
  parts.inputs = {value_info("x", 1, {5})};
  parts.outputs = {value_info("y", 1, {3})};
  EXPECT_EQ(run(model(parts), {{"x", Tensor::from_numbers(DType::fp32, {5}, {0, 1, 2, 3, 4})}}),
            (std::vector<double>{4, 2, 0}));
}

TEST(Onnx, IntegersBeyondInt32AreRefused) {
  GraphParts parts;
  parts.nodes = {node("Add", {"x", "big"}, {"y"})};
  parts.initializers = {int64_tensor("big", {5'000'000'000})};
  parts.inputs = {value_info("x", 7, {1})};
  parts.outputs = {value_info("y", 7, {1})};
  EXPECT_THAT(refusal(model(parts)), HasSubstr("the constant holds 5000000000, but Core ML's integers have 32 bits"));
}

TEST(Onnx, NarrowIntegersWrap) {
  GraphParts parts;
  parts.nodes = {node("Add", {"x", "x"}, {"y"})};
  parts.inputs = {value_info("x", 3, {3})};
  parts.outputs = {value_info("y", 3, {3})};
  EXPECT_EQ(run(model(parts), {{"x", Tensor::from_numbers(DType::int32, {3}, {100, -100, 5})}}),
            (std::vector<double>{-56, 56, 10}));
}

TEST(Onnx, NotesWhatTheBorderWas) {
  GraphParts parts;
  parts.nodes = {node("Equal", {"x", "x"}, {"y"})};
  parts.inputs = {value_info("x", 7, {"n", 2})};
  parts.outputs = {value_info("y", 9, {"n", 2})};
  auto program = read(model(parts));
  ASSERT_TRUE(program) << describe(program.error());
  EXPECT_EQ(program->metadata.user.at("com.pomona.source.input.x"), "int64 [n, 2] x");
  auto output = source_feature(program->metadata, false, "y");
  ASSERT_TRUE(output);
  EXPECT_EQ(output->dtype, "bool");
  EXPECT_EQ(output->shape, "[n, 2]");
  rename_source_feature(program->metadata, false, "y", "z");
  EXPECT_EQ(source_feature(program->metadata, false, "z")->name, "y");
  EXPECT_EQ(program->main().body.input(0).dtype(), DType::int32);
  EXPECT_EQ(program->main().body.results()[0].dtype(), DType::boolean);
}

TEST(Onnx, InitialisersThatAreInputsBecomeOptional) {
  GraphParts parts;
  parts.nodes = {node("Mul", {"x", "scale"}, {"y"})};
  parts.initializers = {float_tensor("scale", {2, 2})};
  parts.inputs = {value_info("x", 1, {2}), value_info("scale", 1, {2})};
  parts.outputs = {value_info("y", 1, {2})};
  auto program = read(model(parts));
  ASSERT_TRUE(program) << describe(program.error());
  ASSERT_EQ(program->main().inputs.size(), 2u);
  EXPECT_TRUE(program->main().inputs[1].optional);
  EXPECT_EQ(program->main().inputs[1].default_value, 2.0);
}

TEST(Onnx, TensorsWithEqualContentsAreOneWeight) {
  std::vector<float> values(5000);
  std::iota(values.begin(), values.end(), 0.5f);
  std::vector<float> others = values;
  others[1234] = 0.75f;
  GraphParts parts;
  parts.inputs = {value_info("x", 1, {5000})};
  parts.outputs = {value_info("z", 1, {5000})};
  parts.nodes = {node("Add", {"x", "a"}, {"s"}), node("Mul", {"s", "b"}, {"y"}), node("Sub", {"y", "c"}, {"z"})};
  parts.initializers = {float_tensor("a", values), float_tensor("b", values), float_tensor("c", others)};
  auto program = read(model(parts));
  ASSERT_TRUE(program) << describe(program.error());
  std::set<std::string> identities;
  for (const auto& n : program->main().body.nodes())
    for (Value input : n->inputs())
      if (input.literal()) identities.insert(input.literal()->identity());
  EXPECT_EQ(identities.size(), 2u);
}

TEST(Onnx, GivenShapesFixSymbolsEverywhere) {
  GraphParts parts;
  parts.nodes = {node("Add", {"a", "b"}, {"y"})};
  parts.inputs = {value_info("a", 1, {"n", 3}), value_info("b", 1, {"n", 3})};
  parts.outputs = {value_info("y", 1, {"n", 3})};
  auto program = read(model(parts), {.shapes = {{"a", {4, 3}}}});
  ASSERT_TRUE(program) << describe(program.error());
  EXPECT_EQ(to_string(program->main().body.input("b").shape()), "[4, 3]");
  EXPECT_THAT(refusal(model(parts), {.shapes = {{"a", {4, 3}}, {"b", {5, 3}}}}),
              HasSubstr("dimension 'n' is given as 4 and as 5"));
  EXPECT_THAT(refusal(model(parts), {.shapes = {{"c", {1}}}}), HasSubstr("the model has no such input"));
}

TEST(Onnx, BranchesBecomeCondOrTheOneThatIsTaken) {
  GraphParts then_part, else_part, parts;
  then_part.nodes = {node("Neg", {"x"}, {"t"})};
  then_part.outputs = {value_info("t", 1, {2})};
  else_part.nodes = {node("Abs", {"x"}, {"e"})};
  else_part.outputs = {value_info("e", 1, {2})};
  parts.nodes = {
      node("If", {"c"}, {"y"},
           {graph_attribute("then_branch", graph(then_part)), graph_attribute("else_branch", graph(else_part))})};
  parts.inputs = {value_info("x", 1, {2}), value_info("c", 9, {})};
  parts.outputs = {value_info("y", 1, {2})};
  Tensor x = Tensor::from_numbers(DType::fp32, {2}, {-1, 2});
  EXPECT_EQ(run(model(parts), {{"x", x}, {"c", Tensor::scalar(DType::boolean, 1)}}), (std::vector<double>{1, -2}));
  EXPECT_EQ(run(model(parts), {{"x", x}, {"c", Tensor::scalar(DType::boolean, 0)}}), (std::vector<double>{1, 2}));
  auto fixed = read(model(parts), {.constants = {{"c", Tensor::scalar(DType::boolean, 1)}}});
  ASSERT_TRUE(fixed) << describe(fixed.error());
  EXPECT_EQ(nodes_of(*fixed, "cond"), 0u);
  EXPECT_EQ(fixed->main().inputs.size(), 1u);
}

TEST(Onnx, FunctionsAreInlinedWithTheirAttributes) {
  std::string reference = message([&](pbf_writer& w) {
    w.add_string(1, "alpha");
    w.add_string(21, "slope");
    w.add_int32(20, 1);
  });
  std::string slope = message([&](pbf_writer& w) {
    w.add_string(1, "slope");
    w.add_float(2, 0.5f);
    w.add_int32(20, 1);
  });
  auto function = [&](const std::string& name, const std::string& inner) {
    return message([&](pbf_writer& w) {
      w.add_string(1, name);
      w.add_string(4, "in");
      w.add_string(5, "out");
      w.add_string(6, "slope");
      w.add_message(7, inner);
      w.add_message(9, message([&](pbf_writer& o) { o.add_int64(2, 18); }));
      w.add_message(9, message([&](pbf_writer& o) {
                      o.add_string(1, "local");
                      o.add_int64(2, 1);
                    }));
      w.add_string(10, "local");
    });
  };
  GraphParts parts;
  parts.nodes = {node("Half", {"x"}, {"y"}, {slope}, {}, "local")};
  parts.inputs = {value_info("x", 1, {2})};
  parts.outputs = {value_info("y", 1, {2})};
  std::string half = function("Half", node("LeakyRelu", {"in"}, {"out"}, {reference}));
  EXPECT_EQ(run(model(parts, 18, {half}), {{"x", Tensor::from_numbers(DType::fp32, {2}, {-4, 2})}}),
            (std::vector<double>{-2, 2}));
  std::string endless = function("Half", node("Half", {"in"}, {"out"}, {}, {}, "local"));
  EXPECT_THAT(refusal(model(parts, 18, {endless})), HasSubstr("nests too deep, or calls itself"));
}

TEST(Onnx, CirclesAreFound) {
  GraphParts parts;
  parts.nodes = {node("Add", {"x", "b"}, {"a"}, {}, "p"), node("Neg", {"a"}, {"b"}, {}, "q")};
  parts.inputs = {value_info("x", 1, {2})};
  parts.outputs = {value_info("b", 1, {2})};
  EXPECT_THAT(refusal(model(parts)), HasSubstr("ONNX Add 'p' depends on its own result"));
}

TEST(Onnx, ExternalDataStaysInsideTheModelsFolder) {
  auto folder = std::filesystem::path(::testing::TempDir()) / "pomona_onnx_external";
  std::filesystem::create_directories(folder / "model");
  std::ofstream(folder / "model" / "w.bin", std::ios::binary) << std::string("\0\0\0\0\0\0\x80\x3f\0\0\0\x40", 12);
  std::ofstream(folder / "secret.bin", std::ios::binary) << std::string(16, 'x');
  auto with = [&](const std::string& location, const std::string& offset, const std::string& length) {
    auto entry = [](const std::string& key, const std::string& value) {
      return message([&](pbf_writer& w) {
        w.add_string(1, key);
        w.add_string(2, value);
      });
    };
    std::string tensor = message([&](pbf_writer& w) {
      w.add_int64(1, 2);
      w.add_int32(2, 1);
      w.add_string(8, "w");
      w.add_message(13, entry("location", location));
      w.add_message(13, entry("offset", offset));
      w.add_message(13, entry("length", length));
      w.add_int32(14, 1);
    });
    GraphParts parts;
    parts.nodes = {node("Add", {"x", "w"}, {"y"})};
    parts.initializers = {tensor};
    parts.inputs = {value_info("x", 1, {2})};
    parts.outputs = {value_info("y", 1, {2})};
    return onnx::read_onnx(Bytes::own(model(parts)), (folder / "model").string(), {});
  };
  auto program = with("w.bin", "4", "8");
  ASSERT_TRUE(program) << describe(program.error());
  Evaluation evaluation(program->main());
  auto results = evaluation({{"x", Tensor::from_numbers(DType::fp32, {2}, {0, 0})}});
  ASSERT_TRUE(results) << describe(results.error());
  EXPECT_THAT((*results)[0].numbers(), ElementsAre(1, 2));
  std::filesystem::remove(folder / "model" / "link.bin");
  std::filesystem::create_symlink(folder / "secret.bin", folder / "model" / "link.bin");
  for (const char* location : {"../secret.bin", "/etc/passwd", "link.bin"}) {
    auto refused = with(location, "0", "8");
    ASSERT_FALSE(refused) << location;
    EXPECT_THAT(describe(refused.error()), HasSubstr("outside the model's folder"));
  }
  EXPECT_THAT(describe(with("w.bin", "8", "8").error()), HasSubstr("w.bin"));
  EXPECT_THAT(describe(with("w.bin", "100", "8").error()), HasSubstr("starts at byte 100 of 'w.bin', which has 12"));
  EXPECT_THAT(describe(with("w.bin", "0", "4").error()), HasSubstr("4 bytes are stored, but fp32 [2] need 8"));
}

TEST(Onnx, EveryTruncationIsAnErrorOrASmallerModel) {
  GraphParts parts;
  parts.nodes = {node("Mul", {"x", "scale"}, {"m"}, {}, "multiply"),
                 node("Softmax", {"m"}, {"y"}, {int_attribute("axis", 0)}, "soft")};
  parts.initializers = {float_tensor("scale", {2, 3}), int64_tensor("unused", {1, 2, 3})};
  parts.inputs = {value_info("x", 1, {"n"})};
  parts.outputs = {value_info("y", 1, {"n"})};
  std::string whole = model(parts);
  std::size_t refused = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) refused += !read(whole.substr(0, size));
  EXPECT_GT(refused, whole.size() * 9 / 10);
  EXPECT_THAT(refusal(whole.substr(0, 30)), HasSubstr("at byte"));
}

TEST(Onnx, NamesTheNodeAndTheByteOfMalformedFiles) {
  GraphParts parts;
  std::string bad = message([&](pbf_writer& w) {
    w.add_string(3, "broken");
    w.add_string(4, "Relu");
    w.add_string(5, "\x0f");  // an attribute whose wire type does not exist
  });
  parts.nodes = {bad};
  std::string text = refusal(model(parts));
  EXPECT_THAT(text, HasSubstr("at node 'broken'"));
  EXPECT_THAT(text, HasSubstr("at byte "));
}

TEST(Onnx, EveryRuleHasAFreshNameAndRange) {
  const onnx::Rules& rules = onnx::all_rules();
  std::set<std::string> names;
  for (const onnx::Rule& rule : rules) {
    names.insert(std::string(rule.op));
    EXPECT_LT(rule.since, rule.until) << rule.op;
    for (const onnx::Rule& other : rules) {
      bool same = &rule != &other && rule.op == other.op && rule.domain == other.domain;
      EXPECT_TRUE(!same || rule.until <= other.since || other.until <= rule.since) << rule.op;
    }
  }
  EXPECT_GE(names.size(), 110u);
}

}  // namespace
}  // namespace pomona
