"""Graphs that quantise what they compute: weights keep their 8 bits, sums of integers are exact, and verification knows that they answer by leaps."""
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


def pomona(*words):
    return subprocess.run([POMONA, *map(str, words)], capture_output=True, text=True)


def save(path, nodes, sizes, weights):
    features = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes[name]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "model", features[:1], features[1:], [numpy_helper.from_array(a, n) for n, a in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def dynamic_layers(path, weight_dtype, depth, columns, per_column=False):
    """y = x W as ONNX Runtime's quantize_dynamic writes it."""
    random = numpy.random.default_rng(depth)
    limits = numpy.iinfo(weight_dtype)
    # Almost all of one sign and large, so that a sum leaves what fp32 holds exactly.
    w = random.integers(limits.max - 40, limits.max + 1, (depth, columns)).astype(weight_dtype)
    zero = random.integers(limits.min, limits.min + 9, columns if per_column else ()).astype(weight_dtype)
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["sum"]),
             helper.make_node("Cast", ["sum"], ["real"], to=TensorProto.FLOAT), helper.make_node("Mul", ["s", "ws"], ["scale"]),
             helper.make_node("Mul", ["real", "scale"], ["y"])]
    save(path, nodes, {"x": ["rows", depth], "y": ["rows", columns]}, {"w": w, "wz": zero, "ws": numpy.float32(2e-3)})
    return w.nbytes


class QuantisedGraphs(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def converted(self, *words):
        done = pomona("convert", self.folder / "m.onnx", "-o", self.folder / "m.mlpackage", "--force", *words)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done.stdout + done.stderr

    def answers(self, x):
        numpy.savez(self.folder / "in.npz", x=x)
        done = pomona("run", self.folder / "m.mlpackage", "--inputs", self.folder / "in.npz", "--outputs", self.folder / "out.npz", "--strict", "--force")
        self.assertEqual(done.returncode, 0, done.stderr)
        expected = onnxruntime.InferenceSession(str(self.folder / "m.onnx")).run(None, {"x": x})[0]
        return numpy.load(self.folder / "out.npz")["y"], expected

    def test_weights_keep_their_bits_and_sums_are_exact(self):
        for dtype, depth, per_column in ((numpy.uint8, 300, False), (numpy.int8, 1500, False), (numpy.uint8, 520, True)):
            bytes_of_codes = dynamic_layers(self.folder / "m.onnx", dtype, depth, 96, per_column)
            x = numpy.random.default_rng(1).random((3, depth), numpy.float32)
            self.converted("--precision", "fp32")
            got, expected = self.answers(x)
            numpy.testing.assert_allclose(got, expected, rtol=3e-7)
            weights = self.folder / "m.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
            self.assertLess(weights.stat().st_size, 1.2 * bytes_of_codes + 4096)
            # Sums of up to 97 million: fp16 must see them only once they are scaled.
            self.converted("--precision", "fp16")
            got, expected = self.answers(x)
            self.assertTrue(numpy.isfinite(got).all())
            self.assertLess(numpy.abs(got - expected).max(), 0.01 * numpy.abs(expected).max())

    def test_small_integer_products(self):
        dynamic_layers(self.folder / "m.onnx", numpy.int8, 7, 5)
        self.converted("--precision", "fp32")
        got, expected = self.answers(numpy.random.default_rng(2).standard_normal((4, 7)).astype(numpy.float32))
        numpy.testing.assert_allclose(got, expected, rtol=1e-6)

    def leaps(self, sharpness, slope):
        """y = x + floor(sharpness x) / sharpness * slope: with a large slope the last bits of x decide."""
        nodes = [helper.make_node("Mul", ["x", "sharp"], ["a"]), helper.make_node("Floor", ["a"], ["b"]), helper.make_node("Mod", ["b", "two"], ["c"], fmod=1),
                 helper.make_node("Mul", ["c", "slope"], ["d"]), helper.make_node("Add", ["x", "d"], ["y"])]
        save(self.folder / "m.onnx", nodes, {"x": [64, 64], "y": [64, 64]},
             {"sharp": numpy.float32(sharpness), "two": numpy.float32(2), "slope": numpy.float32(slope)})

    def test_leaps_are_allowed_as_far_as_the_source_leaps(self):
        self.leaps(100, 1.0)
        self.assertIn("moves as far", self.converted("--precision", "fp16"))
        wrong = self.folder / "other.onnx"
        (self.folder / "m.onnx").rename(wrong)
        self.leaps(100, 1.6)
        self.converted("--no-verify", "--precision", "fp16")
        done = pomona("verify", self.folder / "m.mlpackage", "--against", wrong)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
