"""ONNX's own cases, made by or lying in the onnx package (node; simple, pytorch-operator, pytorch-converted): converted to Core ML, written, read back,
run, and compared with each case's tolerance, which in fp16 is widened. Most must pass, and none may be wrong. docs/onnx.md says what this finds.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy
import onnx
from onnx.backend.test.case.node import collect_testcases

import onnx_page

# Of the 2,024 cases of onnx 1.23.2 at least these many pass; what is missing is refused with a reason.
LEAST_PASSED, LEAST_PASSED_IN_HALF = 1890, 1890
SUITES = ["simple", "pytorch-operator", "pytorch-converted"]


def serialised(value, info):
    if isinstance(value, onnx.TensorProto):
        value.name = info.name
        return value.SerializeToString()
    if isinstance(value, list):
        return onnx.numpy_helper.from_list(value, info.name).SerializeToString()
    if isinstance(value, dict):
        return onnx.numpy_helper.from_dict(value, info.name).SerializeToString()
    if value is None:
        return onnx.numpy_helper.from_optional(value, info.name, onnx.OptionalProto.TENSOR).SerializeToString()
    return onnx.numpy_helper.from_array(numpy.asarray(value), info.name).SerializeToString()


def write_case(case, folder):
    folder.mkdir()
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for i, data_set in enumerate(case.data_sets):
        (folder / f"test_data_set_{i}").mkdir()
        for kind, values, infos in zip(("input", "output"), data_set, (case.model.graph.input, case.model.graph.output)):
            for j, value in enumerate(values):
                (folder / f"test_data_set_{i}" / f"{kind}_{j}.pb").write_bytes(serialised(value, infos[j]))


def main():
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for case in collect_testcases(None):
            write_case(case, pathlib.Path(folder) / case.name)
        data = pathlib.Path(onnx.__file__).parent / "backend/test/data"
        report, half = (json.loads(subprocess.run([os.environ["POMONA_BINARY"], "conformance", folder, *(data / suite for suite in SUITES),
                                                   "--precision", precision, "--json"], capture_output=True, text=True).stdout)
                        for precision in ("fp32", "fp16"))
    wrong = {case["name"]: case["reason"] for results in (half, report) for case in results["results"] if case["status"] in ("wrong", "failed")}
    print(f"{report['cases']} cases: {report['passed']} passed, {report['wrong']} wrong, {report['failed']} failed, {report['unsupported']} refused")
    print(f"in fp16: {half['passed']} passed, {half['wrong']} wrong, {half['failed']} failed")
    for name, reason in wrong.items():
        print(f"  {name}: {reason}")
    documented = pathlib.Path(os.environ["POMONA_SOURCE"]) / "docs" / "onnx.md"
    fresh = documented.read_text() == onnx_page.page(report, half)
    if not fresh:
        print(f"  {documented} says something else than the cases do; write it again with onnx_page.py")
    enough = report["passed"] >= LEAST_PASSED and half["passed"] >= LEAST_PASSED_IN_HALF
    return 0 if not wrong and fresh and enough else 1


if __name__ == "__main__":
    sys.exit(main())
