"""What convert and verify promise: a verified output or none, targets and precisions of packages, integers by equality, names."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

POMONA = os.environ["POMONA_BINARY"]
VECTORS = TensorProto.FLOAT


def pomona(*words, **more):
    return subprocess.run([POMONA, *map(str, words)], capture_output=True, text=True, **more)


def save(path, nodes, inputs, outputs, weights=()):
    def features(all_features):
        return [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in all_features.items()]

    graph = helper.make_graph(nodes, "model", features(inputs), features(outputs),
                              [numpy_helper.from_array(array, name) for name, array in dict(weights).items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def layer(path, size=16, scale=1.0):
    """y = gelu(x W): enough to see a precision and a target by."""
    w = numpy.random.default_rng(0).normal(size=(size, size)).astype(numpy.float32) * numpy.float32(scale)
    return save(path, [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], {"x": (VECTORS, [2, size])}, {"y": (VECTORS, [2, size])},
                {"w": w})


def chooser(path, offset):
    """label = argmax(x) + offset, and large = label + 1000000: integers whose cosine sees nothing."""
    nodes = [helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0), helper.make_node("Add", ["best", "offset"], ["label"]),
             helper.make_node("Add", ["label", "million"], ["large"]), helper.make_node("Greater", ["label", "three"], ["flag"])]
    return save(path, nodes, {"x": (VECTORS, [4, 8])}, {name: (dtype, [4]) for name, dtype in
                (("label", TensorProto.INT64), ("large", TensorProto.INT64), ("flag", TensorProto.BOOL))},
                {"offset": numpy.int64(offset), "million": numpy.int64(1000000), "three": numpy.int64(3)})


class Conversion(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def done(self, *words, status=0):
        done = pomona(*words)
        self.assertEqual(done.returncode, status, done.stderr + done.stdout)
        return done

    def facts(self, package):
        return json.loads(self.done("inspect", package, "--json").stdout)

    def failing_model(self):
        """In fp16 the products of 300 pass 65504: its conversion cannot be within any tolerance."""
        ones = numpy.full((64, 64), 300, numpy.float32)
        nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("MatMul", ["p", "w"], ["q"]), helper.make_node("MatMul", ["q", "w"], ["y"])]
        return save(self.folder / "large.onnx", nodes, {"x": (VECTORS, [2, 64])}, {"y": (VECTORS, [2, 64])}, {"w": ones})

    def test_a_failed_verification_leaves_nothing(self):
        model, out = self.failing_model(), self.folder / "out.mlpackage"
        done = self.done("convert", model, "-o", out, "--json", status=1)
        self.assertFalse(json.loads(done.stdout)["written"])
        self.assertFalse(json.loads(done.stdout)["verification"]["passed"])
        self.assertEqual([p.name for p in self.folder.iterdir()], ["large.onnx"])

        self.done("convert", layer(self.folder / "good.onnx"), "-o", out)
        before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
        self.done("convert", model, "-o", out, "--force", status=1)
        self.assertEqual({p: p.stat().st_mtime_ns for p in out.rglob("*")}, before)
        self.done("convert", model, "-o", out, "--force", "--keep", status=1)
        self.assertNotEqual({p: p.stat().st_mtime_ns for p in out.rglob("*")}, before)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["good.onnx", "large.onnx", "out.mlpackage"])

    def test_an_impossible_verification_leaves_nothing(self):
        env = {**os.environ, "PATH": "/nonexistent", "HOME": str(self.folder), "POMONA_PYTHON": "/nonexistent/python"}
        env.pop("POMONA_CACHE", None)
        done = pomona("convert", layer(self.folder / "a.onnx"), "-o", self.folder / "a.mlpackage", "--against", "onnxruntime", env=env)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["a.onnx"])

    def test_integers_and_truth_values_are_compared_by_equality(self):
        one, other = chooser(self.folder / "one.onnx", 0), chooser(self.folder / "other.onnx", 1)
        self.done("verify", one, "--against", one)
        found = json.loads(self.done("verify", one, "--against", other, "--json", status=1).stdout)["outputs"]
        self.assertGreater(found["large"]["cosine"], 0.999999)
        self.assertEqual((found["large"]["judged_by"], found["large"]["unequal"]), ("equality", 4))
        self.assertIn("4 of 4 elements are not equal", found["large"]["problem"])
        self.done("verify", one, "--against", other, "--min-equal", 0)
        # The same when the other side is stored, as floating numbers even.
        numpy.savez(self.folder / "in.npz", x=numpy.eye(4, 8, dtype=numpy.float32))
        expected = {"label": numpy.arange(4.0), "large": numpy.arange(4.0) + 1000000, "flag": numpy.zeros(4)}
        numpy.savez(self.folder / "right.npz", **expected)
        numpy.savez(self.folder / "wrong.npz", **{**expected, "large": expected["large"] + numpy.array([0, 0, 1, 0])})
        self.done("verify", one, "--inputs", self.folder / "in.npz", "--against", self.folder / "right.npz")
        wrong = self.done("verify", one, "--inputs", self.folder / "in.npz", "--against", self.folder / "wrong.npz", status=1)
        self.assertIn("1 of 4 elements are not equal", wrong.stdout)
        self.done("convert", one, "-o", self.folder / "one.mlpackage", "--precision", "fp32")

    def test_a_package_gets_the_target_that_is_asked_for(self):
        package = self.folder / "a.mlpackage"
        self.done("convert", layer(self.folder / "a.onnx"), "-o", package, "--target", "iOS16", "--precision", "fp32")
        for target, opset in (("iOS15", "CoreML5"), ("iOS18", "CoreML8"), ("macOS14", "CoreML7"), (None, "CoreML6")):
            out = self.folder / f"{target}.mlpackage"
            self.done("convert", package, "-o", out, *(["--target", target] if target else []))
            self.assertEqual(self.facts(out)["functions"]["main"]["opset"], opset)
            self.done("verify", out, "--against", package, "--min-cosine", 0.999999)
        small = self.folder / "small.mlpackage"
        self.done("convert", layer(self.folder / "b.onnx", 64), "-o", small, "--compress", "int4")
        refused = self.done("convert", small, "-o", self.folder / "b.mlpackage", "--target", "iOS16", status=2)
        self.assertIn("constexpr_blockwise_shift_scale", refused.stderr)
        self.assertFalse((self.folder / "b.mlpackage").exists())

    def test_tables_of_ios16_are_said_anew_for_ios18(self):
        package, small, renewed = (self.folder / f"{name}.mlpackage" for name in ("a", "small", "renewed"))
        self.done("convert", layer(self.folder / "a.onnx", 64), "-o", package, "--target", "iOS16")
        self.done("compress", package, "-o", small, "--scheme", "lut4-per-tensor")
        self.done("convert", small, "-o", renewed, "--target", "iOS18")
        facts = self.facts(renewed)
        self.assertEqual(facts["functions"]["main"]["opset"], "CoreML8")
        self.assertIn("constexpr_lut_to_dense", facts["functions"]["main"]["ops"])
        self.assertIn("uint4 (constexpr_lut_to_dense)", facts["bytes_by_kind"])
        self.done("verify", renewed, "--against", small, "--min-cosine", 0.9999999)

    def test_a_package_gets_the_precision_that_is_asked_for(self):
        single, half = self.folder / "single.mlpackage", self.folder / "half.mlpackage"
        self.done("convert", layer(self.folder / "a.onnx", 64), "-o", single, "--precision", "fp32")
        self.done("convert", single, "-o", half, "--precision", "fp16")
        self.assertEqual(list(self.facts(half)["bytes_by_kind"]), ["fp16"])
        self.done("convert", half, "-o", self.folder / "again.mlpackage", "--precision", "fp32")
        self.assertEqual(list(self.facts(self.folder / "again.mlpackage")["bytes_by_kind"]), ["fp32"])
        text = self.done("show", self.folder / "again.mlpackage").stdout
        self.assertNotIn("fp16,", text)
        for package, kind in ((single, "fp32"), (half, "fp16")):  # not asked for: as it is
            self.done("convert", package, "-o", self.folder / "kept.mlpackage", "--force")
            self.assertEqual(list(self.facts(self.folder / "kept.mlpackage")["bytes_by_kind"]), [kind])
        # Compressed weights are decoded to the other precision, in place.
        self.done("compress", single, "-o", self.folder / "small.mlpackage", "--scheme", "int8")
        self.done("convert", self.folder / "small.mlpackage", "-o", self.folder / "small_half.mlpackage", "--precision", "fp16")
        self.assertIn("fp16 (constexpr_blockwise_shift_scale)", self.facts(self.folder / "small_half.mlpackage")["bytes_by_kind"])

    def test_renaming_onto_a_taken_name_is_refused(self):
        model = chooser(self.folder / "one.onnx", 0)
        for renaming in (["label=large"], ["x=flag"], ["label=a", "large=a"], ["label=a", "label=b"], ["nothing=a"], ["label="]):
            words = [w for each in renaming for w in ("--rename", each)]
            refused = self.done("convert", model, "-o", self.folder / "a.mlpackage", *words, status=2)
            self.assertIn(renaming[-1].split("=")[0], refused.stderr)
        self.done("convert", model, "-o", self.folder / "a.mlpackage", "--rename", "label=large", "--rename", "large=label")
        self.assertEqual(set(self.facts(self.folder / "a.mlpackage")["functions"]["main"]["outputs"]), {"label", "large", "flag"})
        # Answers go by the names of the source.
        numpy.savez(self.folder / "in.npz", x=numpy.eye(4, 8, dtype=numpy.float32))
        self.done("run", self.folder / "a.mlpackage", "--inputs", self.folder / "in.npz", "--outputs", self.folder / "out.npz")
        numpy.testing.assert_array_equal(numpy.load(self.folder / "out.npz")["large"], numpy.arange(4) + 1000000)

    def test_open_sizes_of_packages_can_be_fixed(self):
        """A package of open sizes, its sizes given or chosen for the Neural Engine: still what ONNX Runtime says of the model it came from."""
        nodes = [helper.make_node("Shape", ["x"], ["sizes"]), helper.make_node("Gather", ["sizes", "first"], ["rows"]),
                 helper.make_node("Concat", ["rows", "rest"], ["shape"], axis=0), helper.make_node("Reshape", ["x", "shape"], ["flat"]),
                 helper.make_node("MatMul", ["flat", "w"], ["p"]), helper.make_node("Softmax", ["p"], ["y"], axis=0)]
        w = numpy.random.default_rng(4).normal(size=(12, 5)).astype(numpy.float32)
        model = save(self.folder / "open.onnx", nodes, {"x": (VECTORS, ["n", 3, 4])}, {"y": (VECTORS, ["n", 5])},
                     {"w": w, "first": numpy.array([0]), "rest": numpy.array([12])})
        self.done("convert", model, "-o", self.folder / "open.mlpackage", "--dynamic", "x=2..9x3x4", "--precision", "fp32")
        for words, rows in ((["--input", "x=7x3x4"], 7), (["--for", "ane"], 2)):
            fixed = self.folder / f"{rows}.mlpackage"
            self.done("convert", self.folder / "open.mlpackage", "-o", fixed, *words)
            self.assertEqual(self.facts(fixed)["functions"]["main"]["outputs"]["y"]["type"], f"fp32 [{rows}, 5]")
            self.done("verify", fixed, "--against", "onnxruntime")
        for shape, words in (("1x3x4", "between 2 and 9"), ("7x3x5", "its size along axis 2 is 4, not 5"), ("7x3", "3 dims, and 2 are given")):
            refused = self.done("convert", self.folder / "open.mlpackage", "-o", self.folder / "no.mlpackage", "--input", f"x={shape}", status=2)
            self.assertIn(words, refused.stderr)
            self.assertFalse((self.folder / "no.mlpackage").exists())

    def agrees_with_onnxruntime(self, model, inputs, name="y", tolerance=1e-5):
        self.done("convert", model, "-o", self.folder / "a.mlpackage", "--precision", "fp32", "--force")
        numpy.savez(self.folder / "in.npz", **inputs)
        self.done("run", self.folder / "a.mlpackage", "--inputs", self.folder / "in.npz", "--outputs", self.folder / "out.npz", "--force")
        expected = onnxruntime.InferenceSession(str(model)).run([name], inputs)[0]
        numpy.testing.assert_allclose(numpy.load(self.folder / "out.npz")[name], expected, rtol=0, atol=tolerance)

    def test_gru_as_pytorch_exports_it(self):
        # linear_before_reset keeps the two biases apart.
        random = numpy.random.default_rng(3)
        for directions, biased in ((1, True), (2, True), (1, False)):
            def weight(*sizes):
                return random.normal(size=(directions, *sizes)).astype(numpy.float32) / 2
            weights = {"w": weight(15, 4), "r": weight(15, 5)} | ({"b": weight(30)} if biased else {})
            node = helper.make_node("GRU", ["x", "w", "r", "b" if biased else ""], ["y"], hidden_size=5, linear_before_reset=1,
                                    direction="bidirectional" if directions == 2 else "forward")
            model = save(self.folder / "gru.onnx", [node], {"x": (VECTORS, [7, 2, 4])}, {"y": (VECTORS, [7, directions, 2, 5])}, weights)
            self.agrees_with_onnxruntime(model, {"x": random.normal(size=(7, 2, 4)).astype(numpy.float32)})

    def test_squeezing_an_open_size_is_said(self):
        nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[1]), helper.make_node("Squeeze", ["m"], ["y"])]
        model = save(self.folder / "squeeze.onnx", nodes, {"x": (VECTORS, ["batch", 4])}, {"y": (VECTORS, ["batch"])})
        self.agrees_with_onnxruntime(model, {"x": numpy.arange(12, dtype=numpy.float32).reshape(3, 4)})
        done = self.done("convert", model, "-o", self.folder / "a.mlpackage", "--force")
        self.assertIn("size 'batch' is taken for other than 1", done.stdout + done.stderr)

    def test_a_single_output_of_another_name_is_said(self):
        one = layer(self.folder / "one.onnx")
        other = self.folder / "other.onnx"
        model = onnx.load(one)
        model.graph.node[0].output[0] = model.graph.output[0].name = "z"
        onnx.save(model, other)
        done = self.done("verify", one, "--against", other)
        self.assertIn("'y'", done.stdout)
        self.assertIn("'z'", done.stdout)
        self.assertIn("only", done.stdout)


if __name__ == "__main__":
    unittest.main()
