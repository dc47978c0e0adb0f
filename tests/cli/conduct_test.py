"""How the program behaves around its work: interrupts, permissions, places, words that are wrong, what --quiet leaves."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

POMONA = os.environ["POMONA_BINARY"]


def pomona(*words, program=POMONA, **more):
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, **more)


def model_of(path, width=8, external=None):
    """y = x W; W is all ones, in a file of its own when `external` names one."""
    if external:
        weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[width, width], data_location=TensorProto.EXTERNAL)
        weight.external_data.add(key="location", value=external)
    else:
        weight = numpy_helper.from_array(numpy.ones((width, width), numpy.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, width])], [weight])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


class Conduct(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.folder.chmod(0o755)
        self.model = model_of(self.folder / "model.onnx")

    def done(self, *words, status=0, **more):
        done = pomona(*words, **more)
        self.assertEqual(done.returncode, status, done.stderr + done.stdout)
        return done

    def names(self):
        return sorted(p.name for p in self.folder.iterdir())

    def test_an_interrupt_leaves_what_was_there(self):
        large = self.folder / "large.onnx"
        rng = numpy.random.default_rng(0)
        width = 3000
        model_of(large, width, "large.bin")
        rng.normal(size=(width, width)).astype(numpy.float32).tofile(self.folder / "large.bin")
        out = self.folder / "out.mlpackage"
        self.done("convert", self.model, "-o", out)
        before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
        for asked, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            # 6-bit tables of 9 million weights take a while, and verification more.
            running = subprocess.Popen([POMONA, "convert", large, "-o", out, "--force", "--compress", "lut6", "--threads", "1"], stderr=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
            for _ in range(500):
                if any(".partial" in name for name in self.names()) or running.poll() is not None:
                    break
                time.sleep(0.01)
            running.send_signal(asked)
            running.communicate(timeout=30)
            self.assertEqual(running.returncode, status)
            self.assertEqual(self.names(), ["large.bin", "large.onnx", "model.onnx", "out.mlpackage"])
            self.assertEqual({p: p.stat().st_mtime_ns for p in out.rglob("*")}, before)

    def test_external_data_in_the_layout_of_a_download_cache(self):
        snapshot, blobs = self.folder / "models--a--b/snapshots/0123/onnx", self.folder / "models--a--b/blobs"
        snapshot.mkdir(parents=True)
        blobs.mkdir()
        model_of(blobs / "aaaa", 8, "model.onnx_data")
        numpy.ones((8, 8), numpy.float32).tofile(blobs / "bbbb")
        (snapshot / "model.onnx").symlink_to("../../../blobs/aaaa")
        (snapshot / "model.onnx_data").symlink_to("../../../blobs/bbbb")
        self.done("run", snapshot / "model.onnx", "--random")
        # By name, or through a link to anywhere else, it may not leave its folder.
        shutil.copy(blobs / "bbbb", self.folder / "secret")
        (self.folder / "sub").mkdir()
        refused = self.done("run", model_of(self.folder / "sub/a.onnx", 8, "../secret"), "--random", status=2)
        self.assertIn("outside the model's folder", refused.stderr)
        (self.folder / "sub/link").symlink_to("../secret")
        self.done("run", model_of(self.folder / "sub/b.onnx", 8, "link"), "--random", status=2)
        refused = self.done("run", model_of(snapshot / "c.onnx", 8, "../../../blobs/bbbb"), "--random", status=2)
        self.assertIn("outside the model's folder", refused.stderr)

    def test_what_may_not_be_read_or_written_is_the_machines_fault(self):
        more = {}
        if os.getuid() == 0:  # who may read everything; nobody else may be let into the folder that the program lies in
            more = {"user": 65534, "group": 65534, "program": shutil.copy(POMONA, self.folder)}
        package = self.folder / "a.mlpackage"
        self.done("convert", self.model, "-o", package)
        closed = self.folder / "closed"
        closed.mkdir()
        shutil.copy(self.model, closed)
        for path in (self.model, package, closed):
            path.chmod(0)
        try:
            for path in (self.model, package, closed / "model.onnx", closed):
                refused = self.done("inspect", path, status=3, **more)
                self.assertIn("ermission denied", refused.stderr)
                self.assertIn(str(path), refused.stderr)
            self.model.chmod(0o644)
            closed.chmod(0o555)
            self.done("convert", self.model, "-o", closed / "b.mlpackage", status=3, **more)
        finally:
            for path in (self.model, package, closed):
                path.chmod(0o755)

    def test_places_that_cannot_be_are_refused_before_any_work(self):
        missing = self.folder / "no/such/a.mlpackage"
        for words in (["convert", self.folder / "absent.onnx", "-o", missing], ["compress", "absent", "-o", missing, "--scheme", "int8"],
                      ["decompress", "absent", "-o", missing]):
            refused = self.done(*words, status=2)
            self.assertIn(f"there is no folder '{missing.parent}'", refused.stderr)
            refused = self.done(*[self.folder / "plain" if word == missing else word for word in words], status=2)
            self.assertIn(f"try: {self.folder}/plain.mlpackage", refused.stderr)
        refused = self.done("run", "absent", "--random", "--outputs", self.folder / "no/such/out.npz", status=2)
        self.assertIn("there is no folder", refused.stderr)
        self.assertEqual(self.names(), ["model.onnx"])

    def test_shared_flags_stand_on_either_side_of_the_verb(self):
        for words in (["--json", "inspect", self.model], ["inspect", "--json", self.model], ["--threads", "2", "--json", "inspect", self.model],
                      ["--quiet", "--json", "inspect", self.model]):
            self.assertEqual(json.loads(self.done(*words).stdout)["format"], "ONNX")
        self.assertIn("there is no verb 'inspct'", self.done("--threads", "2", "inspct", status=2).stderr)

    def test_a_damaged_file_is_an_error_of_inspect(self):
        whole = self.model.read_bytes()
        self.model.write_bytes(whole[:len(whole) // 2])
        found = self.done("inspect", self.model, "--json", status=2)
        self.assertIn("error", json.loads(found.stdout))
        self.assertTrue(found.stderr.startswith("error: "))
        self.model.write_bytes(whole)
        package = self.folder / "a.mlpackage"
        self.done("convert", self.model, "-o", package)
        file = package / "Data/com.apple.CoreML/model.mlmodel"
        file.write_bytes(file.read_bytes()[:-40])
        self.done("inspect", package, status=2)
        # What is whole, but has operators that nobody knows, is looked at.
        strange = onnx.load(self.model)
        strange.graph.node[0].op_type = "NoSuchOperator"
        onnx.save(strange, self.model)
        self.assertIn("NoSuchOperator", json.loads(self.done("inspect", self.model, "--json").stdout)["obstacle"])

    def test_words_that_are_wrong(self):
        cases = {("inspect",): "'inspect' needs MODEL", ("inspect", "a", "b"): "'inspect' has no use for 'b'",
                 ("inspect", "--wrong", "a"): "'inspect' has no option '--wrong'", ("convert", "a"): "'convert' needs --output",
                 ("convert", "a", "-o"): "--output needs a value", ("convert", "a", "-o", "b", "-o", "c"): "--output is given more than once",
                 ("bench", "a", "--iterations", "x"): "--iterations takes a whole number, not 'x'",
                 ("bench", "a", "--iterations"): "--iterations needs a value", ("bench", "a", "--threads", "0"): "--threads takes a whole number from 1 to 1024",
                 ("verify", "a", "--min-cosine", "x"): "--min-cosine takes a number, not 'x'",
                 ("compress", "a", "-o", "b", "--nbits", "x"): "--nbits takes", ("--wrong",): "pomona has no option '--wrong'"}
        for words, sentence in cases.items():
            found = self.done("--json", *words, status=2)
            self.assertIn(f"error: {sentence}", found.stderr)
            self.assertIn("try: ", found.stderr)
            self.assertIn(sentence, json.loads(found.stdout)["error"]["what"])
        self.assertIn("try: --force", self.done("convert", "a", "-o", "b", "--forse", status=2).stderr)

    def test_quiet_leaves_the_answer(self):
        for words in (["inspect", self.model], ["show", self.model], ["run", self.model, "--random"], ["bench", self.model, "--iterations", "1"]):
            self.assertTrue(self.done(*words, "--quiet").stdout, words)
        done = self.done("convert", self.model, "-o", self.folder / "a.mlpackage", "--quiet")
        self.assertEqual((done.stdout, done.stderr), ("", ""))

    def test_a_package_says_its_source_but_not_where_it_lay(self):
        env = {**os.environ, "POMONA_CACHE": str(self.folder / "cache")}
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        package = elsewhere / "a.mlpackage"
        self.done("convert", self.model, "-o", package, env=env)
        for file in package.rglob("*"):
            if file.is_file():
                self.assertNotIn(str(self.folder).encode(), file.read_bytes())
        origin = json.loads(self.done("inspect", package, "--json").stdout)["metadata"]["user"]
        self.assertEqual(origin["com.pomona.source.file"], "model.onnx")
        # Remembered here; found beside the package; named.
        python = {**env, "POMONA_PYTHON": os.environ.get("POMONA_TEST_PYTHON", shutil.which("python3"))}
        lost = {**python, "POMONA_CACHE": str(self.folder / "another")}
        self.assertIn("--source", self.done("verify", package, "--against", "onnxruntime", env=lost, status=2).stderr)
        done = pomona("verify", package, "--against", "onnxruntime", "--json", env=python)
        if done.returncode != 3:  # without ONNX Runtime, the file was found all the same
            self.assertIn(str(self.model), json.loads(done.stdout)["reference"])
        # What is made from the package keeps saying what that was made from, dtypes and all.
        again = elsewhere / "again.mlpackage"
        self.done("convert", package, "-o", again, "--target", "iOS17", env=env)
        self.assertEqual(json.loads(self.done("inspect", again, "--json").stdout)["metadata"]["user"], origin)

    def test_a_place_is_named_once(self):
        package = self.folder / "a.mlpackage"
        self.done("convert", self.model, "-o", package)
        (package / "Manifest.json").write_text("{")
        refused = self.done("run", package, "--random", "--json", status=2)
        places = json.loads(refused.stdout)["error"]["places"]
        self.assertEqual(len(places), len(set(places)))
        lines = [line for line in refused.stderr.splitlines() if line.startswith("  at ")]
        self.assertEqual(len(lines), len(set(lines)))


if __name__ == "__main__":
    unittest.main()
