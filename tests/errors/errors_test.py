"""Each kind of message that a user may meet, provoked by a file or by words: the exit status, what is said, and where."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

POMONA = os.environ["POMONA_BINARY"]
FLOAT = TensorProto.FLOAT


def save(path, nodes, inputs, outputs, weights=(), opset=17):
    def features(named):
        return [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in named.items()]

    graph = helper.make_graph(nodes, "model", features(inputs), features(outputs), list(weights))
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString())


def one_op(path, op, opset=17, **attributes):
    save(path, [helper.make_node(op, ["x"], ["y"], name="the_node", **attributes)], {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, [2, 3])}, opset=opset)


MIL = """program(1.0)
{
    func main<ios16>(tensor<fp32, [2, 3]> x) {
        tensor<fp32, [2, 3]> y = %s[name = string("y")];
    } -> (y);
}
"""


def make_files(folder):
    rng = numpy.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(size=(4, 3)).astype(numpy.float32), "w")
    save(folder / "small.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Mul", ["i", "i"], ["square"])],
         {"x": (FLOAT, ["rows", 4]), "i": (TensorProto.INT64, ["rows"])}, {"y": (FLOAT, ["rows", 3]), "square": (TensorProto.INT64, ["rows"])}, [weight])
    whole = (folder / "small.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[:len(whole) * 2 // 3])
    one_op(folder / "unknown_op.onnx", "NoSuchOperator")
    one_op(folder / "unknown_attribute.onnx", "Relu", wonder=3)
    one_op(folder / "old.onnx", "Relu", opset=3)
    one_op(folder / "strings.onnx", "Cast", to=TensorProto.STRING)
    save(folder / "loop.onnx", [helper.make_node("Relu", ["b"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["b"], name="second")],
         {"x": (FLOAT, [2])}, {"b": (FLOAT, [2])})
    save(folder / "missing_input.onnx", [helper.make_node("Add", ["x", "nowhere"], ["y"], name="sum")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})
    save(folder / "shapes.onnx", [helper.make_node("Add", ["x", "z"], ["y"], name="sum")], {"x": (FLOAT, [2]), "z": (FLOAT, [3])}, {"y": (FLOAT, [2])})
    outside = TensorProto(name="w", data_type=FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="absent.bin")
    save(folder / "external.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (FLOAT, [1, 4])}, {"y": (FLOAT, [1, 3])}, [outside])
    short = TensorProto(name="w", data_type=FLOAT, dims=[4, 3], raw_data=b"1234")
    save(folder / "short.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (FLOAT, [1, 4])}, {"y": (FLOAT, [1, 3])}, [short])
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "noise").write_bytes(rng.integers(128, 255, 4000, numpy.uint8).tobytes())
    (folder / "a.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    (folder / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    (folder / "a.pkl").write_bytes(b"\x80\x02}q\0." + bytes(64))
    (folder / "nothing").mkdir()
    (folder / "saved").mkdir()
    (folder / "saved/saved_model.pb").write_bytes(b"\x08\x01")
    (folder / "unknown.mil").write_text(MIL % "rellu(x = x)")
    (folder / "syntax.mil").write_text(MIL % "relu(x = x")
    (folder / "type.mil").write_text(MIL % "relu(x = z)")
    package = folder / "small.mlpackage"
    subprocess.run([POMONA, "convert", folder / "small.onnx", "-o", package, "--quiet", "--target", "iOS16"], check=True)
    for name, change in (("no_manifest", lambda p: (p / "Manifest.json").unlink()), ("bad_manifest", lambda p: (p / "Manifest.json").write_text("{")),
                         ("no_weights", lambda p: shutil.rmtree(next(p.rglob("weights")))),
                         ("cut_weights", lambda p: os.truncate(next(p.rglob("weight.bin")), 70)),
                         ("cut_model", lambda p: os.truncate(next(p.rglob("model.mlmodel")), 100))):
        shutil.copytree(package, folder / f"{name}.mlpackage")
        change(folder / f"{name}.mlpackage")
    x, i = numpy.ones((2, 4), numpy.float32), numpy.ones(2, numpy.int64)
    arrays = {"good": {"x": x, "i": i}, "lacking": {"x": x}, "extra": {"x": x, "i": i, "zz": x}, "shape": {"x": x[:, :3], "i": i},
              "fraction": {"x": x, "i": i + 0.5}, "large": {"x": x, "i": i + 2**40}, "rows": {"x": x, "i": numpy.ones(3, numpy.int64)}}
    for name, each in arrays.items():
        numpy.savez(folder / f"{name}.npz", **each)
    (folder / "cut.npz").write_bytes((folder / "good.npz").read_bytes()[:100])
    numpy.save(folder / "x.npy", x)
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:-8])
    (folder / "bad.json").write_text('{"x": [[1, 2], [3]], "i": [1, 2]}')
    (folder / "words.json").write_text('{"x": "text", "i": [1, 2]}')
    (folder / "empty.txt").write_text("\n")


CONVERT = "convert small.onnx -o out.mlpackage "
# Words, what the error says, and where (a place, or advice); the status is 2.
CASES = [
    ("inspect absent.onnx", "there is no file or folder 'absent.onnx'", ""),
    ("inspect empty.onnx", "'empty.onnx' is empty", "try: a model in one of"),
    ("inspect noise", "of no format that is known", "try: a model in one of"),
    ("inspect nothing", "holds no model that is recognised", ""),
    ("inspect cut.onnx", "at byte", "cut.onnx"),
    ("run a.tflite --random", "recognised as TensorFlow Lite", "try: a model in one of"),
    ("run a.h5 --random", "recognised as HDF5", ""),
    ("run a.pkl --random", "recognised as Python pickle", ""),
    ("run saved --random", "recognised as TensorFlow SavedModel", ""),
    ("run unknown.mil --random", "rellu", "unknown.mil"),
    ("run syntax.mil --random", "line 4", "syntax.mil"),
    ("run type.mil --random", "z", "type.mil"),
    ("run unknown_op.onnx --random", "NoSuchOperator", "unknown_op.onnx"),
    ("run unknown_attribute.onnx --random", "wonder", "the_node"),
    ("run old.onnx --random", "3", "old.onnx"),
    ("run strings.onnx --random", "string", "the_node"),
    ("run loop.onnx --random", "", "loop.onnx"),
    ("run missing_input.onnx --random", "nowhere", "sum"),
    ("run shapes.onnx --random", "[2]", "sum"),
    ("run external.onnx --random", "absent.bin", "'w'"),
    ("run short.onnx --random", "4 bytes", "'w'"),
    ("run no_manifest.mlpackage --random", "no_manifest.mlpackage", ""),
    ("run bad_manifest.mlpackage --random", "Manifest.json is not a JSON object", "bad_manifest.mlpackage"),
    ("run no_weights.mlpackage --random", "weight", "no_weights.mlpackage"),
    ("run cut_weights.mlpackage --random", "", "cut_weights.mlpackage"),
    ("run cut_model.mlpackage --random", "", "cut_model.mlpackage"),
    ("inspect small.mlpackage#x", "none called 'x'", ""),
    ("inspect small.onnx#x", "none called 'x'", ""),
    (CONVERT + "--target iOS99", "there is no target 'iOS99'", ""),
    (CONVERT + "--precision fp8", "--precision is fp16, mixed or fp32, not 'fp8'", ""),
    (CONVERT + "--input x=ax4", "'a' is no size", "at --input x=ax4"),
    (CONVERT + "--input nope=1x4", "'nope'", "at file 'small.onnx'"),
    (CONVERT + "--input x=2x5", "4 in the model, but 5 is given", ""),
    (CONVERT + "--input x=1x4:int8", "not 'int8'", ""),
    (CONVERT + "--dynamic x=3..1x4", "ends before it begins", "--dynamic"),
    (CONVERT + "--dynamic x=1..x4", "has no upper bound", ""),
    (CONVERT + "--enumerate x=1x4,1x2x4", "different ranks", "--enumerate"),
    (CONVERT + "--image x=cmyk", "not 'cmyk'", "--image"),
    (CONVERT + "--image x=rgb", "has rank 4, but the input has rank 2", ""),
    (CONVERT + "--classes absent.txt", "absent.txt", "--classes"),
    (CONVERT + "--classes empty.txt", "'empty.txt' is empty", ""),
    (CONVERT + "--against tvm", "not 'tvm'", ""),
    (CONVERT + "--io-dtype int8", "not 'int8'", ""),
    (CONVERT + "--io-dtype fp16 --target iOS15", "need iOS16 or later", ""),
    (CONVERT + "--compress int5", "there is no scheme 'int5'", ""),
    (CONVERT + "--meta novalue", "takes name=value, not 'novalue'", ""),
    (CONVERT + "--output-description zz=a", "names 'zz'", ""),
    (CONVERT + "--constant x=1,a", "'a' is no number", ""),
    (CONVERT + "--rename zz=a", "names 'zz'", ""),
    (CONVERT + "--why nope", "there is no rule 'nope'", ""),
    (CONVERT + "--dump-after nope=dumps", "names 'nope'", ""),
    ("convert small.onnx -o small.mlpackage", "exists already", "try: --force"),
    ("convert small.onnx -o out", "not called .mlpackage", "try: out.mlpackage"),
    ("compress small.onnx -o out.mlpackage --scheme int8", "is ONNX: convert it first", ""),
    ("compress small.mlpackage -o out.mlpackage", "no scheme is given", "try: --scheme"),
    ("compress small.mlpackage -o out.mlpackage --scheme linear --dtype int3", "not 'int3'", "at scheme 'linear'"),
    ("compress small.mlpackage -o out.mlpackage --scheme int4", "need iOS18", "try: "),
    ("decompress small.onnx -o out.mlpackage", "not a Core ML package", ""),
    ("run small.onnx", "the model needs inputs", "try: --inputs"),
    ("run small.onnx --random --inputs good.npz", "exclude each other", ""),
    ("run small.onnx --random --function f", "there is no function 'f'; there is main", ""),
    ("run small.onnx --inputs absent.npz", "absent.npz", ""),
    ("run small.onnx --inputs cut.npz", "", "cut.npz"),
    ("run small.onnx --inputs x=cut.npy", "", "cut.npy"),
    ("run small.onnx --inputs bad.json", "nested unevenly", "bad.json"),
    ("run small.onnx --inputs words.json", "", "words.json"),
    ("run small.onnx --inputs lacking.npz", "input 'i' is missing", ""),
    ("run small.onnx --inputs extra.npz", "no input 'zz'", ""),
    ("run small.onnx --inputs shape.npz", "[2, 3]", "input 'x'"),
    ("run small.onnx --inputs fraction.npz", "1.5", "input 'i'"),
    ("run small.onnx --inputs large.npz", "outside of int32", "input 'i'"),
    ("run small.onnx --inputs rows.npz", "'rows'", ""),
    ("run small.onnx --inputs x.npy", "say which one by name=file", ""),
    ("run small.onnx --random --outputs a.xyz", "write them to an .npz", ""),
    ("run small.onnx --random --outputs z=a.npy", "there is no output 'z'", ""),
    ("run small.onnx --text hi", "texts need --tokenizer", ""),
    ("verify small.onnx", "--against says what to compare with", ""),
    ("verify small.onnx --against absent", "'absent'", ""),
    ("verify small.onnx --against good.npz", "need the inputs they were made from", ""),
    ("verify small.onnx --against small.onnx --random 0", "--random takes a number of at least 1", ""),
    ("conformance nothing", "there is no case", ""),
    ("bench small.onnx --iterations 0", "--iterations takes a number of at least 1", ""),
    ("bench small.onnx --size zz=4", "'zz'", ""),
    ("inspct small.onnx", "there is no verb 'inspct'", "try: pomona inspect"),
    ("inspect", "'inspect' needs MODEL", "try: pomona help inspect"),
    ("run small.onnx --sead 3", "has no option '--sead'", "try: --seed"),
    ("run small.onnx --seed x", "--seed takes a whole number, not 'x'", ""),
]


class Errors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        make_files(cls.folder)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_every_message(self):
        before = sorted(self.folder.iterdir())
        for words, what, where in CASES:
            with self.subTest(words):
                done = subprocess.run([POMONA, "--json", *words.split()], capture_output=True, text=True, cwd=self.folder)
                self.assertEqual(done.returncode, 2, done.stderr)
                error = json.loads(done.stdout)["error"]
                self.assertEqual(error["kind"], "request")
                self.assertIn(what, error["what"])
                lines = done.stderr[done.stderr.index("error: "):].splitlines()
                self.assertIn(where, "\n".join(lines))
                self.assertTrue(all(line.startswith(("error: ", "  ")) for line in lines[1:]), lines)
                self.assertFalse(error["what"].endswith("."))
        self.assertEqual([p for p in sorted(self.folder.iterdir()) if p.name != "dumps"], before)

    def test_one_model_of_several_is_named(self):
        (self.folder / "several/inner").mkdir(parents=True)
        shutil.copy(self.folder / "small.onnx", self.folder / "several/inner/a.onnx")
        try:
            done = subprocess.run([POMONA, "--json", "inspect", f"{self.folder}/several#inner/a.onnx"], capture_output=True, text=True)
            self.assertEqual((done.returncode, json.loads(done.stdout)["format"]), (0, "ONNX"))
        finally:
            shutil.rmtree(self.folder / "several")


if __name__ == "__main__":
    unittest.main()
