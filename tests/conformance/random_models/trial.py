"""Models given to `pomona conformance` many at a time, and what it makes of each against ONNX Runtime."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import numpy
import onnx
from onnx import helper, numpy_helper

from graph import answers, captured_names, element_type, info


class Case:
    """A model, its inputs by name, and the names of outputs that half precision had a part in."""

    def __init__(self, model, inputs, coarse=()):
        self.model, self.inputs, self.coarse = model, inputs, set(coarse)
        self.want = None


def is_near(got, want, coarse):
    if got.dtype != want.dtype:
        return f"is {got.dtype} instead of {want.dtype}"
    if got.shape != want.shape:
        return f"has shape {got.shape} instead of {want.shape}"
    if want.dtype.kind != "f" or not want.size:
        return None if numpy.array_equal(got, want) else f"{int((got != want).sum())} of {want.size} differ"
    got, want = got.astype(numpy.float64), want.astype(numpy.float64)
    finite = numpy.isfinite(want)
    if not numpy.array_equal(finite, numpy.isfinite(got)) or not numpy.array_equal(got[~finite], want[~finite], equal_nan=True):
        return "is not finite elsewhere"
    scale = numpy.abs(want[finite]).max(initial=0)
    allowed = 2e-2 * scale + 1e-2 if coarse else 2e-4 * scale + 2e-6
    most = numpy.abs(got[finite] - want[finite]).max(initial=0)
    return None if most <= allowed else f"differs by {most:.3g} where the largest is {scale:.3g}"


def write(case, folder):
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for i, value in enumerate(case.model.graph.input):
        (data / f"input_{i}.pb").write_bytes(numpy_helper.from_array(case.inputs[value.name], value.name).SerializeToString())
    for i, value in enumerate(case.model.graph.output):
        (data / f"output_{i}.pb").write_bytes(numpy_helper.from_array(case.want[value.name], value.name).SerializeToString())


def judge(case, status, reason, outputs):
    """None, or (kind, words): refused, broken or wrong."""
    if status == "unsupported":
        return "refused", reason
    if status == "failed":
        return "broken", reason
    got = numpy.load(outputs, allow_pickle=False)
    for name, want in case.want.items():
        if name not in got:
            return "wrong", f"output {name} is missing"
        problem = is_near(got[name], want, name in case.coarse)
        if problem:
            return "wrong", f"output {name} {problem}"
    return None


def try_all(cases, precision="fp32"):
    """For each case what judge() says of it; "no answer" where ONNX Runtime has none."""
    verdicts = [None] * len(cases)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        folder = pathlib.Path(name)
        for i, case in enumerate(cases):
            try:
                case.want = answers(case.model, case.inputs)
            except Exception as error:
                verdicts[i] = "no answer", str(error)
                continue
            write(case, folder / "cases" / f"m{i}")
        if not (folder / "cases").exists():
            return verdicts
        done = subprocess.run([os.environ["POMONA_BINARY"], "conformance", str(folder / "cases"), "--outputs", str(folder / "out"), "--seconds", "60",
                               "--precision", precision, "--json"], capture_output=True, text=True)
        for result in json.loads(done.stdout)["results"]:
            i = int(result["name"][1:])
            verdicts[i] = judge(cases[i], result["status"], result.get("reason", ""), folder / "out" / f"m{i}.npz")
    return verdicts


def failures(cases):
    """Tries (name, case) pairs, prints those that fail, and says how many."""
    failed = 0
    for (name, _), verdict in zip(cases, try_all([case for _, case in cases])):
        if verdict:
            failed += 1
            print(f"{name}\n    {verdict[0]}: {verdict[1]}")
    return failed


def exit_code(cases):
    """The same as a program does: 0 if none fails, else 1."""
    failed = failures(cases)
    print(f"{len(cases)} cases, {failed} failed")
    return 1 if failed else 0


def signature(verdict):
    """What two refusals have in common although their tensors have other names and sizes."""
    kind, words = verdict
    if kind == "wrong":
        return kind
    return kind + ": " + re.sub(r"'[^']*'|[-\d.]+", "_", words.strip().splitlines()[0] if words.strip() else "")


# Making a case that fails smaller while it fails in the same way.
def part_of(case, values, outputs, cut):
    """The nodes that `outputs` need when the tensors of `cut` are inputs."""
    wanted, nodes = set(outputs) - set(cut), []
    for node in reversed(case.model.graph.node):
        if not set(node.output) & wanted:
            continue
        nodes.insert(0, node)
        wanted |= (set(node.input) | captured_names([node])) - set(cut) - {""}
    made = {n for node in nodes for n in node.output}
    read = {n for node in nodes for n in node.input} | captured_names(nodes)
    shapes = {v.name: v for v in case.model.graph.input}
    inputs = {n: values[n] for n in values if n in read and n not in made and (n in shapes or n in cut)}
    graph = helper.make_graph(nodes, "part", [shapes.get(n) or info(n, a) for n, a in inputs.items()],
                              [helper.make_tensor_value_info(n, element_type(values[n].dtype), [None] * values[n].ndim) for n in outputs],
                              [t for t in case.model.graph.initializer if t.name in read])
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.graph.CopyFrom(graph)
    return Case(model, inputs, set(outputs) & case.coarse)


def size(case):
    return sum(node.op_type != "Constant" for node in case.model.graph.node)


def weight(case):
    """What shrinking makes less, the most important first."""
    open_sizes = sum(bool(d.dim_param) for v in case.model.graph.input for d in v.type.tensor_type.shape.dim)
    return size(case), len(case.model.graph.output), open_sizes


def every_value(case):
    """Each tensor of the graph by name."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    known = {o.name for o in model.graph.output}
    for node in model.graph.node:
        model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in node.output if n and n not in known)
    return {**case.inputs, **answers(model, case.inputs)}


def shrink(case, verdict, precision="fp32"):
    wanted = signature(verdict)
    fixed = onnx.ModelProto()
    fixed.CopyFrom(case.model)
    for value in fixed.graph.input:
        value.CopyFrom(info(value.name, case.inputs[value.name]))
    while True:
        values = every_value(case)
        made = [n for node in case.model.graph.node if node.op_type != "Constant" for n in node.output
                if isinstance(values[n], numpy.ndarray)]
        ends = [o.name for o in case.model.graph.output]
        everything_coarse = Case(case.model, case.inputs, made if case.coarse else ())
        candidates = [part_of(everything_coarse, values, [n], []) for n in made if ends != [n]]
        candidates += [part_of(case, values, ends, [n]) for n in made if n not in ends]
        halves = [ends[:len(ends) // 2], ends[len(ends) // 2:]] if len(ends) > 2 else []
        candidates += [part_of(case, values, kept, []) for kept in halves + [[e for e in ends if e != dropped] for dropped in ends] if kept]
        if case.model.graph.input and any(d.dim_param for v in case.model.graph.input for d in v.type.tensor_type.shape.dim):
            candidates.append(part_of(Case(fixed, case.inputs, case.coarse), values, ends, []))
        candidates = [c for c in candidates if c.inputs and c.model.graph.node and (size(c), len(c.model.graph.output)) <= (size(case), len(ends))]
        verdicts = try_all(candidates, precision)
        failing = [(weight(c), i, c, v) for i, (c, v) in enumerate(zip(candidates, verdicts)) if v and signature(v) == wanted and weight(c) < weight(case)]
        if not failing:
            return case, verdict
        _, _, case, verdict = min(failing, key=lambda f: f[:2])


def describe(case):
    return onnx.printer.to_text(case.model)


def keep(case, folder):
    if folder.exists():
        shutil.rmtree(folder)
    case.want = answers(case.model, case.inputs)
    write(case, folder)
