"""Dumps coremltools' registry of core MIL ops as JSON:  python registry.py registry.json

One record per op class version: op, since (first ML Program target using it), type variables, inputs in order and the
defaults that do not depend on other inputs.  The C++ op catalogue is compared with this file.
"""

import json
import sys

import numpy as np

import harness
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.input_type import TensorInputType

DEPENDENT = {"?": "depends on other inputs: see the fact sheet"}


def dtype_names(domain):
    return sorted({"string" if t is types.str else types.builtin_to_string(t) for t in domain})


def describe_input(name, kind):
    record = {"name": name, "kind": type(kind).__name__, "optional": bool(kind.optional), "const": bool(kind.const)}
    if isinstance(kind, TensorInputType):
        if kind.type_domain_id is not None:
            record["type_var"] = kind.type_domain_id
        else:
            record["types"] = dtype_names(kind.type_domain)
    return record


def plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value


def describe_defaults(cls):
    """default_inputs is a method that may look at the op; an op without inputs gives only the independent ones."""
    shell = cls.__new__(cls)
    try:
        defaults = {k: plain(v) for k, v in cls.default_inputs(shell).items()}
        json.dumps(defaults)
    except Exception:
        return DEPENDENT
    return defaults


def describe(op, since):
    cls = harness.SSAOpRegistry.core_ops[op][harness.TARGETS[since]]
    inputs = cls.input_spec.input_types
    variables = {name: dtype_names(domain) for name, domain in (getattr(cls, "type_domains", None) or {}).items()}
    return {
        "op": op,
        "since": f"iOS{since}",
        "type_vars": variables,
        "inputs": [describe_input(n, k) for n, k in inputs.items()],
        "defaults": describe_defaults(cls),
    }


def dump(path):
    records = [describe(op, since) for op, since in harness.all_class_versions()]
    with open(path, "w") as file:
        file.write(
            '{"source": "coremltools %s: %d op class versions",\n"ops": [\n' % (harness.ct.__version__, len(records))
        )
        file.write(",\n".join(json.dumps(r, separators=(",", ":")) for r in records))
        file.write("\n]}\n")


if __name__ == "__main__":
    dump(sys.argv[1])
