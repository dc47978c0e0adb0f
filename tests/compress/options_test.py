"""docs/compression_options.md is what tools/compression-options writes: no option of coremltools has come or gone, and each of them is taken
or refused as it says there."""
import importlib.util
import os
import pathlib
import subprocess
import sys

source = pathlib.Path(os.environ["POMONA_SOURCE"])
if importlib.util.find_spec("coremltools") is None:
    print("no coremltools in this Python: not compared")
    sys.exit(0)
written = subprocess.run([sys.executable, "-B", str(source / "tools/compression-options")], capture_output=True, text=True, check=True).stdout
kept = (source / "docs/compression_options.md").read_text()
if written != kept:
    new, old = written.splitlines(), kept.splitlines()
    for line in [line for line in new if line not in old][:20]:
        print("now: ", line)
    for line in [line for line in old if line not in new][:20]:
        print("docs:", line)
    sys.exit("docs/compression_options.md is out of date: tools/compression-options > docs/compression_options.md")
failed = [line for line in kept.splitlines() if "failed:" in line]
sys.exit("\n".join(failed) if failed else 0)
