"""The command line as a contract: exit statuses, JSON, what is printed where, outputs that are never half there."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

POMONA = os.environ["POMONA_BINARY"]
VERBS = ["inspect", "show", "convert", "compress", "search", "decompress", "run", "verify", "conformance", "bench"]
LATER = ["plan", "generate", "chat", "serve", "logits", "perplexity", "edit", "split"]


def pomona(*words, **more):
    return subprocess.run([POMONA, *map(str, words)], capture_output=True, text=True, **more)


def small_model(path, seed=0):
    """y = relu(x W + b), flag = x > 0 anywhere, n = the number of rows, s = their sum; x is [rows, 4]."""
    rng = numpy.random.default_rng(seed)
    w = numpy_helper.from_array(rng.normal(size=(4, 3)).astype(numpy.float32), "w")
    b = numpy_helper.from_array(rng.normal(size=3).astype(numpy.float32), "b")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["product"], name="product"),
             helper.make_node("Add", ["product", "b"], ["sum"], name="sum"),
             helper.make_node("Relu", ["sum"], ["y"], name="last"),
             helper.make_node("ReduceMean", ["x"], ["mean"], name="mean", keepdims=0),
             helper.make_node("Mul", ["i", "i"], ["square"], name="square"),
             helper.make_node("Greater", ["x", "threshold"], ["flags"], name="flags")]
    zero = numpy_helper.from_array(numpy.float32(0), "threshold")
    graph = helper.make_graph(nodes, "small",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4]),
                               helper.make_tensor_value_info("i", TensorProto.INT64, ["rows"])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3]),
                               helper.make_tensor_value_info("mean", TensorProto.FLOAT, []),
                               helper.make_tensor_value_info("square", TensorProto.INT64, ["rows"]),
                               helper.make_tensor_value_info("flags", TensorProto.BOOL, ["rows", 4])], [w, b, zero])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


class CommandLine(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.model = self.folder / "small.onnx"
        small_model(self.model)

    def convert(self, *options, output="small.mlpackage"):
        done = pomona("convert", self.model, "-o", self.folder / output, *options)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return self.folder / output

    def test_version_and_help(self):
        self.assertRegex(pomona("--version").stdout, r"^pomona \d+\.\d+\.\d+$")
        overview = pomona("help").stdout
        for verb in VERBS + LATER:
            self.assertIn(verb, overview)
        for verb in VERBS:
            done = pomona("help", verb)
            self.assertEqual(done.returncode, 0)
            examples = done.stdout[done.stdout.rindex("Examples:"):]
            self.assertEqual(examples.count(f"  pomona {verb} "), 3, verb)
        self.assertEqual(pomona("help", "convrt").returncode, 2)

    def test_verbs_without_a_part_are_refused_by_name(self):
        for verb in LATER:
            if "Examples:" in pomona("help", verb).stdout:
                continue  # it has its part by now
            done = pomona(verb, "whatever")
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"'{verb}'", done.stderr)

    def test_convert_verifies_and_undoes_the_border(self):
        package = self.convert("--precision", "fp32")
        x = numpy.array([[1, -2, 3, 0], [0.5, 0, -1, 4]], numpy.float32)
        i = numpy.array([3, -70000 // 7], numpy.int64)
        numpy.savez(self.folder / "in.npz", x=x, i=i)
        done = pomona("run", package, "--inputs", self.folder / "in.npz", "--outputs", self.folder / "out.npz")
        self.assertEqual(done.returncode, 0, done.stderr)
        out = numpy.load(self.folder / "out.npz")
        self.assertEqual(out["square"].dtype, numpy.int64)
        numpy.testing.assert_array_equal(out["square"], i * i)
        self.assertEqual(out["flags"].dtype, numpy.bool_)
        numpy.testing.assert_array_equal(out["flags"], x > 0)
        self.assertEqual(out["mean"].shape, ())
        self.assertAlmostEqual(float(out["mean"]), float(x.mean()), places=6)
        verified = pomona("verify", package, "--against", "onnxruntime", env={**os.environ, "POMONA_PYTHON": sys.executable})
        self.assertEqual(verified.returncode, 0, verified.stderr + verified.stdout)

    def test_json_is_all_there_is_on_standard_output(self):
        for words in (["inspect", self.model], ["show", self.model], ["run", self.model, "--random"], ["bench", self.model, "--iterations", 2],
                      ["convert", self.model, "-o", self.folder / "a.mlpackage"], ["verify", self.model, "--against", self.model]):
            done = pomona(*words, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIsInstance(json.loads(done.stdout), dict)
        wrong = pomona("inspect", self.folder / "nothing", "--json")
        self.assertEqual(wrong.returncode, 2)
        self.assertEqual(json.loads(wrong.stdout)["error"]["kind"], "request")
        self.assertIn("error: ", wrong.stderr)
        flag = pomona("inspect", self.model, "--wrong-flag", "--json")
        self.assertEqual(flag.returncode, 2)
        self.assertIn("wrong-flag", json.loads(flag.stdout)["error"]["what"])

    def test_exit_status_1_when_the_answer_is_no(self):
        other = self.folder / "other.onnx"
        small_model(other, seed=1)
        done = pomona("verify", self.convert("--precision", "fp32", "--no-verify"), "--against", other, "--bisect")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("NOT within the tolerance", done.stdout)
        self.assertIn("bisect: the first that leaves the tolerance", done.stdout)
        self.assertIn("its source: ONNX ", done.stdout)

    def test_exit_status_3_without_onnxruntime(self):
        env = {**os.environ, "PATH": "/nonexistent", "HOME": str(self.folder), "POMONA_PYTHON": "/nonexistent/python"}
        env.pop("POMONA_CACHE", None)
        done = pomona("verify", self.model, "--against", "onnxruntime", env=env)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("try: ", done.stderr)

    def test_an_existing_output_needs_force(self):
        package = self.convert("--no-verify")
        before = (package / "Manifest.json").stat().st_mtime_ns
        done = pomona("convert", self.model, "-o", package)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--force", done.stderr)
        self.assertEqual((package / "Manifest.json").stat().st_mtime_ns, before)
        self.convert("--no-verify", "--force")
        numpy.savez(self.folder / "in.npz", x=numpy.ones((1, 4), numpy.float32), i=numpy.ones(1, numpy.int64))
        out = self.folder / "out.npz"
        out.write_text("old")
        done = pomona("run", self.model, "--inputs", self.folder / "in.npz", "--outputs", out)
        self.assertEqual((done.returncode, out.read_text()), (2, "old"))
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["in.npz", "out.npz", "small.mlpackage", "small.onnx"])

    def test_inputs_and_outputs_in_every_form(self):
        x, i = numpy.arange(8, dtype=numpy.float32).reshape(2, 4) - 3, numpy.array([2, 5])
        numpy.savez(self.folder / "in.npz", x=x.astype(numpy.float64), i=i.astype(numpy.int8))
        numpy.save(self.folder / "x.npy", numpy.asfortranarray(x.astype(numpy.float16)))
        (self.folder / "i.json").write_text(json.dumps({"i": [2, 5]}))
        (self.folder / "in.json").write_text(json.dumps({"x": x.tolist(), "i": {"dtype": "int32", "shape": [2], "data": [2, 5]}}))
        answers = []
        for number, places in enumerate(([self.folder / "in.npz"], [f"x={self.folder / 'x.npy'}", self.folder / "i.json"], [self.folder / "in.json"])):
            words = [w for place in places for w in ("--inputs", place)]
            done = pomona("run", self.model, *words, "--outputs", self.folder / f"{number}.npz", "--outputs", self.folder / f"{number}.json",
                          "--outputs", self.folder / f"all{number}")
            self.assertEqual(done.returncode, 0, done.stderr)
            answers.append(numpy.load(self.folder / f"{number}.npz")["y"])
            numpy.testing.assert_array_equal(numpy.load(self.folder / f"all{number}/y.npy"), answers[-1])
            numpy.testing.assert_allclose(json.loads((self.folder / f"{number}.json").read_text())["y"], answers[-1], rtol=1e-6)
        for answer in answers[1:]:
            numpy.testing.assert_array_equal(answer, answers[0])

    def test_the_answer_is_the_same_for_any_number_of_threads(self):
        numpy.savez(self.folder / "in.npz", x=numpy.random.default_rng(0).normal(size=(9, 4)).astype(numpy.float32), i=numpy.arange(9))
        seen = []
        for threads in (1, 2, 5):
            out = self.folder / f"{threads}.npz"
            self.assertEqual(pomona("run", self.model, "--inputs", self.folder / "in.npz", "--outputs", out, "--threads", threads).returncode, 0)
            seen.append({k: v.tobytes() for k, v in numpy.load(out).items()})
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(seen[0], seen[2])

    def test_shapes_ranges_and_metadata(self):
        package = self.convert("--dynamic", "x=2..6x4", "--author", "A. Pple", "--license", "none", "--model-version", "7", "--description", "small",
                               "--input-description", "x=rows of four", "--meta", "key=value")
        facts = json.loads(pomona("inspect", package, "--json").stdout)
        self.assertEqual([facts["metadata"][k] for k in ("author", "license", "version", "description")], ["A. Pple", "none", "7", "small"])
        self.assertEqual(facts["metadata"]["user"]["key"], "value")
        inputs = facts["functions"]["main"]["inputs"]
        self.assertEqual(inputs["x"]["type"], "fp32 [2..6, 4]")
        self.assertEqual(inputs["x"]["description"], "rows of four")
        for rows, status in ((2, 0), (6, 0), (7, 2), (1, 2)):
            numpy.savez(self.folder / "in.npz", x=numpy.ones((rows, 4), numpy.float32), i=numpy.ones(rows, numpy.int64))
            self.assertEqual(pomona("run", package, "--inputs", self.folder / "in.npz").returncode, status, rows)
        numpy.savez(self.folder / "in.npz", x=numpy.ones((3, 4), numpy.float32), i=numpy.ones(4, numpy.int64))
        done = pomona("run", package, "--inputs", self.folder / "in.npz")
        self.assertEqual(done.returncode, 2)
        self.assertIn("'rows'", done.stderr)

    def test_all_tensors_and_text(self):
        package = self.convert("--precision", "fp32")
        done = pomona("run", package, "--random", "--all-tensors", self.folder / "tensors")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("y.npy", [p.name for p in (self.folder / "tensors").iterdir()])
        text = pomona("show", package, "--full").stdout
        (self.folder / "small.mil").write_text(text)
        self.assertEqual(pomona("show", self.folder / "small.mil", "--full").stdout, text)

    def test_dry_run_writes_nothing(self):
        done = pomona("convert", self.model, "-o", self.folder / "a.mlpackage", "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse((self.folder / "a.mlpackage").exists())

    def test_tensors_with_long_names_get_files(self):
        names = ["x" * 400 + end for end in "ab"]
        graph = helper.make_graph([helper.make_node("Exp", ["x"], [names[0]]), helper.make_node("Neg", [names[0]], [names[1]]), helper.make_node("Abs", [names[1]], ["y"])], "g",
                                  [helper.make_tensor_value_info("x", 1, [3])], [helper.make_tensor_value_info("y", 1, [3])])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), self.folder / "long.onnx")
        numpy.savez(self.folder / "long.npz", x=numpy.ones(3, numpy.float32))
        for words in (["convert", self.folder / "long.onnx", "-o", self.folder / "long.mlpackage", "--precision", "fp32"],
                      ["run", self.folder / "long.mlpackage", "--inputs", self.folder / "long.npz", "--all-tensors", self.folder / "tensors", "--outputs", self.folder / "y.npz"]):
            done = pomona(*words)
            self.assertEqual(done.returncode, 0, done.stderr)
        found = sorted(numpy.load(path)[0] for path in (self.folder / "tensors").iterdir())
        numpy.testing.assert_allclose(found, sorted([1, numpy.e, -numpy.e, numpy.e]), rtol=1e-6)

    def test_sizes_that_were_taken_for_equal_must_be(self):
        graph = helper.make_graph([helper.make_node("Add", ["x", "y"], ["z"])], "g", [helper.make_tensor_value_info("x", 1, ["n"]), helper.make_tensor_value_info("y", 1, ["m"])],
                                  [helper.make_tensor_value_info("z", 1, None)])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), self.folder / "sum.onnx")
        self.assertEqual(pomona("convert", self.folder / "sum.onnx", "-o", self.folder / "sum.mlpackage", "--precision", "fp32").returncode, 0)
        for size, code in ((3, 0), (1, 2)):
            numpy.savez(self.folder / "sum.npz", x=numpy.ones(3, numpy.float32), y=numpy.ones(size, numpy.float32))
            done = pomona("run", self.folder / "sum.mlpackage", "--inputs", self.folder / "sum.npz", "--outputs", self.folder / "z.npz", "--force")
            self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn("'m' is 1", done.stderr)
        self.assertIn("--input", done.stderr)

    def test_conformance_counts_and_writes(self):
        def case(name, op, x, y, wrong=False):
            folder = self.folder / "cases" / name
            (folder / "test_data_set_0").mkdir(parents=True)
            graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], name, [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
                                      [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(y.dtype), y.shape)])
            onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
            for kind, array, label in (("input", x, "x"), ("output", y + 1 if wrong else y, "y")):
                (folder / f"test_data_set_0/{kind}_0.pb").write_bytes(numpy_helper.from_array(array, label).SerializeToString())

        x = numpy.array([-2.5, 0, 3], numpy.float32)
        case("relu", "Relu", x, numpy.maximum(x, 0))
        case("wrong", "Relu", x, numpy.maximum(x, 0), wrong=True)
        case("unknown", "NoSuchOperator", x, x)
        done = pomona("conformance", self.folder / "cases", "--outputs", self.folder / "answers", "--json")
        self.assertEqual(done.returncode, 1, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual({c["name"]: c["status"] for c in found["results"]}, {"relu": "passed", "wrong": "wrong", "unknown": "unsupported"})
        numpy.testing.assert_array_equal(numpy.load(self.folder / "answers/relu.npz")["y"], numpy.maximum(x, 0))
        self.assertIn("NoSuchOperator", (self.folder / "answers/unknown.err").read_text())
        (self.folder / "list").write_text("relu\n")
        done = pomona("conformance", self.folder / "cases", "--list", self.folder / "list", "--json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["passed"]), (0, 1))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
