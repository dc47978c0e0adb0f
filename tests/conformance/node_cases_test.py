"""ONNX's own node cases, made by the onnx package: converted to Core ML, written, read back, run, and compared with each case's tolerance, which in
fp16 is widened. Most must pass, and in fp32 none may be wrong but those listed, each with its reason. docs/onnx.md says what this finds.
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

# Of the 1,884 cases of onnx 1.23.2 at least these many pass; what is missing is refused with a reason.
LEAST_PASSED = 1765
LEAST_PASSED_IN_HALF, MOST_WRONG_IN_HALF = 1755, 10
# Exact zeros where the case holds 2e-7, with a tolerance of 1e-7.
WRONG = {"test_dft_inverse", "test_dft_inverse_opset19"}


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
        report, half = (json.loads(subprocess.run([os.environ["POMONA_BINARY"], "conformance", folder, "--precision", precision, "--json"],
                                                  capture_output=True, text=True).stdout) for precision in ("fp32", "fp16"))
    wrong = {case["name"]: case["reason"] for case in report["results"] if case["status"] in ("wrong", "failed") and case["name"] not in WRONG}
    print(f"{report['cases']} cases: {report['passed']} passed, {report['wrong']} wrong, {report['failed']} failed, {report['unsupported']} refused")
    print(f"in fp16: {half['passed']} passed, {half['wrong']} wrong, {half['failed']} failed")
    for name, reason in wrong.items():
        print(f"  {name}: {reason}")
    documented = pathlib.Path(os.environ["POMONA_SOURCE"]) / "docs" / "onnx.md"
    fresh = documented.read_text() == onnx_page.page(report, half)
    if not fresh:
        print(f"  {documented} says something else than the cases do; write it again with onnx_page.py")
    enough = report["passed"] >= LEAST_PASSED and half["passed"] >= LEAST_PASSED_IN_HALF and half["wrong"] + half["failed"] <= MOST_WRONG_IN_HALF
    return 0 if not wrong and fresh and enough else 1


if __name__ == "__main__":
    sys.exit(main())
