"""`convert --for ane`: models full of what the Neural Engine does not take are verified, and planned on it afterwards."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

POMONA = os.environ["POMONA_BINARY"]
random = numpy.random.default_rng(0)


def weight(name, *sizes):
    return numpy_helper.from_array((random.normal(size=sizes) / numpy.sqrt(numpy.prod(sizes[1:]))).astype(numpy.float32), name)


def save(path, nodes, inputs, outputs, weights):
    border = [[helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in features.items()] for features in (inputs, outputs)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", *border, weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def vision(path):
    """An open batch, strides of 5 and 7, kernels of 31, a dilation of 5, a pooling with stride 3, between convolutions that pay for the engine."""
    nodes = [helper.make_node("Conv", ["x", "w0"], ["a"], strides=[5, 5]), helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Conv", ["b", "w1"], ["c"], pads=[1] * 4), helper.make_node("Conv", ["c", "w2"], ["d"], pads=[0, 15, 0, 15]),
             helper.make_node("Conv", ["d", "w3"], ["e"], dilations=[5, 5], pads=[5] * 4), helper.make_node("AveragePool", ["e"], ["f"], kernel_shape=[3, 3], strides=[3, 3]),
             helper.make_node("Conv", ["f", "w1"], ["g"], pads=[1] * 4), helper.make_node("GlobalAveragePool", ["g"], ["y"])]
    weights = [weight("w0", 64, 3, 5, 5), weight("w1", 64, 64, 3, 3), weight("w2", 64, 64, 1, 31), weight("w3", 64, 64, 3, 3)]
    return save(path, nodes, {"x": (TensorProto.FLOAT, ["batch", 3, 240, 240])}, {"y": (TensorProto.FLOAT, ["batch", 64, 1, 1])}, weights)


def words(path):
    """Token ids into a table, attention with a mask, a layer of more results than an axis may have."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"]), helper.make_node("MatMul", ["e", "wq"], ["q"]), helper.make_node("MatMul", ["e", "wk"], ["k"]),
             helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]), helper.make_node("MatMul", ["q", "kt"], ["s"]), helper.make_node("Mul", ["s", "scale"], ["t"]),
             helper.make_node("Add", ["t", "mask"], ["m"]), helper.make_node("Softmax", ["m"], ["p"], axis=-1), helper.make_node("MatMul", ["p", "e"], ["h"]),
             helper.make_node("MatMul", ["h", "head"], ["y"])]
    mask = numpy.triu(numpy.full((64, 64), -numpy.inf, numpy.float32), 1)
    weights = [weight("table", 1000, 512), weight("wq", 512, 512), weight("wk", 512, 512), weight("head", 512, 20000),
               numpy_helper.from_array(numpy.float32(512 ** -0.5), "scale"), numpy_helper.from_array(mask, "mask")]
    return save(path, nodes, {"ids": (TensorProto.INT64, ["batch", 64])}, {"y": (TensorProto.FLOAT, ["batch", 64, 20000])}, weights)


class ForTheEngine(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def answer(self, *arguments):
        done = subprocess.run([POMONA, *map(str, arguments), "--json"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return json.loads(done.stdout)

    def planned(self, package, chip):
        return self.answer("plan", package, "--chip", chip, "--ops")["chips"][0]

    def both(self, model, chip="M1"):
        usual, suited = self.folder / "usual.mlpackage", self.folder / "suited.mlpackage"
        self.answer("convert", model, "-o", usual)
        report = self.answer("convert", model, "-o", suited, "--for", "ane")
        self.assertTrue(report["verification"]["passed"])
        self.assertTrue(any("fixed at 1" in sentence for sentence in report["border"]), report["border"])
        return self.planned(usual, chip), self.planned(suited, chip)

    def off_the_engine(self, plan):
        return sorted(op["op"] for op in plan["placements"] if op["verdicts"]["Neural Engine"] not in ("can", "prefers another form"))

    def test_vision(self):
        before, after = self.both(vision(self.folder / "vision.onnx"))
        self.assertEqual(before["ops"]["Neural Engine"], 0)
        self.assertEqual(self.off_the_engine(after), ["cast", "cast"])  # of the border
        self.assertEqual(len(after["segments"]), 3)
        self.assertNotIn("breaks", after)

    def test_words(self):
        before, after = self.both(words(self.folder / "words.onnx"))
        self.assertEqual(before["ops"]["Neural Engine"], 0)
        # The ids (counted from the end where they are negative), the joined results and the border's fp32 stay outside, before and behind one segment.
        self.assertEqual(self.off_the_engine(after), ["add", "cast", "cast", "concat", "less", "select"])
        self.assertEqual([s["engine"] for s in after["segments"]], ["CPU", "Neural Engine", "CPU"])

    def test_sizes_that_are_asked_for_stay(self):
        model, out = vision(self.folder / "vision.onnx"), self.folder / "out.mlpackage"
        self.answer("convert", model, "-o", out, "--for", "ane", "--input", "x=2x3x240x240", "--no-verify")
        shapes = {name: each["shape"] for name, each in self.answer("inspect", out)["functions"]["main"]["inputs"].items()}
        self.assertEqual(shapes["x"], [2, 3, 240, 240])
        self.answer("convert", model, "-o", out, "--force", "--for", "ane", "--enumerate", "x=1x3x240x240,2x3x240x240", "--no-verify")
        self.assertGreater(self.planned(out, "M1")["ops"]["Neural Engine"], 0)
        wrong = subprocess.run([POMONA, "convert", model, "-o", out, "--force", "--for", "npu"], capture_output=True, text=True)
        self.assertNotEqual(wrong.returncode, 0)
        self.assertIn("ane or gpu", wrong.stderr)


if __name__ == "__main__":
    unittest.main()
