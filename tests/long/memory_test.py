"""Converting a model whose weights are a 6 GB file takes memory for the tensor in hand, not for the model.

Makes an ONNX file with external data (96 matrices of 4096 x 4096 floats), converts it, and watches the anonymous and shared memory of the process:
at most 2 x the largest tensor + 300 MB. Needs 10 GB of disk; POMONA_MEMORY_GB makes it smaller.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper

SIDE = 4096
TENSOR_BYTES = SIDE * SIDE * 4


def make_model(folder, count):
    random = np.random.default_rng(0)
    block = (random.standard_normal((SIDE, SIDE)) * 0.02).astype(np.float32)
    nodes, initializers, last = [], [], "x"
    with open(folder / "weights.bin", "wb") as data:
        for i in range(count):
            block[0, 0] = i  # every tensor is another one
            data.write(block.tobytes())
            tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE], data_location=TensorProto.EXTERNAL)
            for key, value in (("location", "weights.bin"), ("offset", i * TENSOR_BYTES), ("length", TENSOR_BYTES)):
                tensor.external_data.add(key=key, value=str(value))
            initializers.append(tensor)
            nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"y{i}"]))
            last = f"y{i}"
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIDE])
    graph = helper.make_graph(nodes, "wide", [value("x")], [value(last)], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def anonymous_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(("RssAnon", "RssShmem")))


def peak_while(command):
    process, peak = subprocess.Popen(command), 0
    while process.poll() is None:
        try:
            peak = max(peak, anonymous_bytes(process.pid))
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(0.01)
    return process.wait(), peak


def main():
    count = max(1, int(float(os.environ.get("POMONA_MEMORY_GB", "6.4")) * 1e9 / TENSOR_BYTES))
    bar = 2 * TENSOR_BYTES + 300_000_000
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pomona-memory-"))
    failed = False
    try:
        make_model(folder, count)
        for precision in ("fp32", "fp16"):
            begin = time.time()
            command = [os.environ["POMONA_BINARY"], "convert", folder / "model.onnx", "-o", folder / "out.mlpackage", "--precision", precision,
                       "--no-verify", "--force", "--quiet"]
            status, peak = peak_while([str(word) for word in command])
            print(f"{precision}: {count * TENSOR_BYTES / 1e9:.1f} GB of weights in {time.time() - begin:.0f} s, peak of anonymous memory "
                  f"{peak / 1e6:.0f} MB, bar {bar / 1e6:.0f} MB", flush=True)
            failed = failed or status != 0 or peak > bar
    finally:
        shutil.rmtree(folder)
    return failed


if __name__ == "__main__":
    sys.exit(main())
