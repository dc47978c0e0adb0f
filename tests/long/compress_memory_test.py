"""Compressing a package of 1 GB without data takes at most half as much anonymous and shared memory, whatever the scheme.

The package is converted from the model that memory_test.py makes. Needs 5 GB of disk; POMONA_MEMORY_GB makes it smaller.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from memory_test import TENSOR_BYTES, make_model, peak_while

SCHEMES = ("int8", "int8-per-tensor", "int4", "lut4", "lut4-per-tensor", "lut8", "sparse50", "sparse50+lut4", "palettize --nbits 4 --granularity per_channel")
BAR = 0.5  # of the package


def size_of(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main():
    count = max(1, int(float(os.environ.get("POMONA_MEMORY_GB", "1.0")) * 1e9 / (TENSOR_BYTES // 2) + 0.5))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pomona-compress-memory-"))
    failed = False
    try:
        make_model(folder, count)
        package, output = folder / "wide.mlpackage", folder / "out.mlpackage"
        convert = [os.environ["POMONA_BINARY"], "convert", folder / "model.onnx", "-o", package, "--precision", "fp16", "--no-verify", "--quiet"]
        subprocess.run([str(word) for word in convert], check=True)
        (folder / "weights.bin").unlink()
        size = size_of(package)
        for scheme in SCHEMES:
            begin = time.time()
            command = [os.environ["POMONA_BINARY"], "compress", package, "-o", output, "--force", "--quiet", "--scheme", *scheme.split()]
            status, peak = peak_while([str(word) for word in command])
            print(f"{scheme}: {size / 1e9:.2f} GB in {time.time() - begin:.0f} s, peak {peak / 1e6:.0f} MB = {peak / size:.2f} of the package, "
                  f"bar {BAR}", flush=True)
            failed = failed or status != 0 or peak > BAR * size
    finally:
        shutil.rmtree(folder)
    return failed


if __name__ == "__main__":
    sys.exit(main())
