"""A pytest plugin: coremltools' own tests, with Pomona's runtime in the place of Apple's.

    POMONA_SUITE_SAMPLE=tests.txt POMONA_SUITE_RESULTS=results.jsonl pytest -p coremltools_plugin --pyargs coremltools.converters.mil.mil.ops

What the tests ask of the machine before they predict is answered as a Mac would. Each test leaves a line in the results: its id,
outcome, reason, whether it predicted, and the largest difference of an fp16 result as a share of the output's scale, as their own
tolerance for fp16 (0.5) is too wide to show an error.
"""

import json
import os
import platform
import random
import re
import sys
import time

os.environ.setdefault("PYMIL_TEST_TARGETS", "mlprogram")

import numpy
import pytest

if os.environ.get("POMONA_SUITE_WITHOUT_TORCH"):
    sys.modules["torch"] = None  # importing it fails, as where it is not installed

import pomona.coremltools_backend as backend
from pomona._coreml import models

# Some tests leave themselves out on an Intel Mac, for what its GPU driver lacks.
platform.machine = lambda: "arm64"
backend.install()

import coremltools._deps
import coremltools.models.utils

# Test files copy these names when they are imported, which is after this.
coremltools._deps._IS_MACOS = True

# The tolerances that the test helpers widen fp16's to, and what fp16 results are held to besides.
_WIDE_ATOL, _WIDE_RTOL = 0.5, 0.05


class _Test:
    predicted = 0
    worst = 0.0  # of fp16 results held to the wide tolerance
    id = ""
    half = False  # whether a model that predicted holds anything in fp16
    missed = None  # by how much, where a tolerance that is narrower than fp16 was missed


_now = _Test()
_ids = {}
_assert_allclose = numpy.testing.assert_allclose


def share_of_scale(actual, desired):
    """The largest difference, as a share of the largest finite magnitude expected (at least 1e-3, to have one for zeros)."""
    actual, desired = numpy.asarray(actual, numpy.float64), numpy.asarray(desired, numpy.float64)
    if actual.shape != desired.shape and actual.size != desired.size:
        return float("inf")
    actual, desired = actual.reshape(-1), desired.reshape(-1)
    finite = numpy.isfinite(desired)
    if not finite.any():
        return 0.0
    scale = max(numpy.abs(desired[finite]).max(), 1e-3)
    difference = numpy.abs(actual[finite] - desired[finite]).max() / scale
    return float("inf") if numpy.isnan(difference) else float(difference)


def _assert_close(actual, desired, rtol=1e-7, atol=0, *arguments, **options):
    if atol >= _WIDE_ATOL and rtol >= _WIDE_RTOL:
        try:
            _now.worst = max(_now.worst, share_of_scale(actual, desired))
        except (TypeError, ValueError):
            pass
    try:
        return _assert_allclose(actual, desired, rtol, atol, *arguments, **options)
    except AssertionError:
        if _now.half and atol <= 1e-3 and rtol <= 1e-3:
            _now.missed = max(_now.missed or 0, share_of_scale(actual, desired))
        raise


numpy.testing.assert_allclose = _assert_close
_predict = models.Model._predict


def _noted_predict(self, data, state):
    _now.predicted += 1
    _now.half = _now.half or getattr(self._model, "half", False)
    return _predict(self, data, state)


models.Model._predict = _noted_predict

if os.environ.get("POMONA_SUITE_FP32"):
    # The same programs in fp32: what is within the tight bound then was fp16's rounding before.
    import coremltools.converters._converters_entry as entry
    from coremltools.converters.mil import testing_utils

    _convert = testing_utils.ct_convert

    def _convert_in_fp32(*arguments, convert_to=None, **options):
        if isinstance(convert_to, tuple):
            convert_to = (convert_to[0], "fp32")
        return _convert(*arguments, convert_to=convert_to, **options)

    testing_utils.ct_convert = _convert_in_fp32


def pytest_make_parametrize_id(config, val, argname):
    """As coremltools' tests of MIL have it, for all of its tests: otherwise ids would depend on which files are in a run."""
    return f"{argname}={val}"


def stable_ids(items):
    """Ids that are the same in every run, each on one line: some have addresses in them, or whole arrays of random numbers, and are
    told apart by how often they came before."""
    seen = {}
    for item in items:
        plain = re.sub(r"0x[0-9a-f]{6,}", "0x", item.nodeid)
        if "\n" in plain or "array(" in plain or "tensor(" in plain:
            plain = plain.split("[", 1)[0] + "[...]"
        seen[plain] = seen.get(plain, 0) + 1
        yield plain if seen[plain] == 1 else f"{plain}#{seen[plain]}"


def pytest_collection_modifyitems(config, items):
    _ids.update((id(item), stable) for item, stable in zip(items, stable_ids(items)))
    listing = os.environ.get("POMONA_SUITE_LIST")
    if listing:
        with open(listing, "w") as file:
            file.write("".join(stable + "\n" for stable in stable_ids(items)))
    sample = os.environ.get("POMONA_SUITE_SAMPLE")
    if sample:
        with open(sample) as file:
            wanted = set(file.read().split("\n"))
        items[:] = [item for item, stable in zip(items, stable_ids(items)) if stable in wanted]


def _reason(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return text[:2000]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    _now.predicted, _now.worst, _now.half, _now.missed = 0, 0.0, False, None
    numpy.random.seed(1)
    random.seed(1)
    if sys.modules.get("torch"):
        sys.modules["torch"].manual_seed(1)
    _now.began = time.perf_counter()
    # Before the test, so that a crash of the process shows which one it was.
    _now.id = _ids[id(item)]
    _write({"id": _now.id, "outcome": "began"})
    yield


def pytest_runtest_logreport(report):
    if report.when != "call" and report.outcome == "passed":
        return
    line = {"id": _now.id, "outcome": report.outcome, "predicted": _now.predicted, "worst": _now.worst,
            "seconds": round(time.perf_counter() - _now.began, 3)}
    if hasattr(report, "wasxfail"):
        line["outcome"] = "xfailed" if report.outcome == "skipped" else "xpassed"
    if report.outcome != "passed":
        line["reason"] = _reason(report)
        if _now.missed is not None:
            line["missed"] = _now.missed
    _write(line)


def _write(line):
    results = os.environ.get("POMONA_SUITE_RESULTS")
    if results:
        with open(results, "a") as file:
            file.write(json.dumps(line) + "\n")
