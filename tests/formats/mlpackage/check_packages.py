"""Compares packages with the originals they were read from, as coremltools sees both:

    python check_packages.py ORIGINALS REWRITTEN [NAME ...]

The same features, metadata, operations (constants of attributes may be ordered differently) and bits of every weight;
MLModel and milproto.load must accept what was written.
"""

import glob
import logging
import os
import sys

import numpy as np

logging.disable(logging.WARNING)
import coremltools as ct
from coremltools import proto
from coremltools.converters.mil.frontend.milproto import load as milproto
from coremltools.libmilstoragepython import _BlobStorageReader as BlobReader

MIL = proto.MIL_pb2
SPECIFICATION = {MIL.FLOAT16: "fp16", MIL.FLOAT32: "float", MIL.INT8: "int8", MIL.UINT8: "uint8", MIL.INT16: "int16",
                 MIL.UINT16: "uint16", MIL.INT32: "int32", MIL.UINT32: "uint32", MIL.INT4: "int4", MIL.UINT1: "uint1",
                 MIL.UINT2: "uint2", MIL.UINT3: "uint3", MIL.UINT4: "uint4", MIL.UINT6: "uint6"}


class Blobs:
    """The weight files of a package; a pipeline has several."""

    def __init__(self, package):
        if not os.path.exists(package):
            package = os.path.join(os.path.dirname(package), os.path.basename(package).split(".")[0] + ".mlpackage")
        self.folder = os.path.join(package, "Data/com.apple.CoreML/weights")

    def read(self, dtype, place):
        reader = BlobReader(os.path.join(self.folder, place.fileName.split("/")[-1]))
        return getattr(reader, f"read_{dtype}_data")(place.offset)


def value_bits(value, blobs):
    """A value's contents in a form that does not depend on where they are stored."""
    kind = value.type.SerializeToString(deterministic=True)
    if value.WhichOneof("value") == "immediateValue":
        immediate = value.immediateValue
        if immediate.WhichOneof("value") == "list":
            return kind, tuple(value_bits(v, blobs) for v in immediate.list.values)
        return kind, immediate.SerializeToString(deterministic=True)
    dtype = SPECIFICATION[value.type.tensorType.dataType]
    return kind, np.asarray(blobs.read(dtype, value.blobFileValue)).tobytes()


def operation_key(operation, constants, renamed, blobs):
    """The operation with each constant operand replaced by its contents; names of computed values in order of making."""

    def operand(binding):
        if binding.WhichOneof("binding") == "value":
            return value_bits(binding.value, blobs)
        if binding.name in constants:
            return value_bits(constants[binding.name], blobs)
        return renamed.get(binding.name, binding.name)

    inputs = tuple(sorted((k, tuple(operand(b) for b in a.arguments)) for k, a in operation.inputs.items()))
    attributes = tuple(sorted((k, value_bits(v, blobs)) for k, v in operation.attributes.items() if k != "name"))
    outputs = []
    for output in operation.outputs:
        renamed[output.name] = f"%{len(renamed)}"
        outputs.append(output.type.SerializeToString(deterministic=True))
    blocks = tuple(block_key(b, dict(constants), dict(renamed), blobs) for b in operation.blocks)
    return operation.type, inputs, attributes, tuple(outputs), blocks


def block_key(block, constants, renamed, blobs):
    for block_input in block.inputs:
        renamed[block_input.name] = f"%{len(renamed)}"
    operations = []
    for operation in block.operations:
        if operation.type == "const":
            constants[operation.outputs[0].name] = operation.attributes["val"]
        else:
            operations.append(operation_key(operation, constants, renamed, blobs))
    results = tuple(value_bits(constants[n], blobs) if n in constants else renamed.get(n, n) for n in block.outputs)
    return tuple(operations), results


def functions_key(spec, blobs):
    result = {}
    for name, function in spec.mlProgram.functions.items():
        (block,) = function.block_specializations.values()
        inputs = tuple(i.SerializeToString(deterministic=True) for i in function.inputs)
        result[name] = (function.opset, inputs, tuple(block.outputs), block_key(block, {}, {}, blobs))
    return result


def build_info(spec):
    pairs = spec.mlProgram.attributes["buildInfo"].immediateValue.dictionary.values
    return {p.key.immediateValue.tensor.strings.values[0]: p.value.SerializeToString() for p in pairs}


def first_difference(a, b, path=""):
    if type(a) is not type(b):
        return f"{path}: {a!r} / {b!r}"
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return f"{path}: keys {sorted(a)} / {sorted(b)}"
        parts = [(k, a[k], b[k]) for k in a]
    elif isinstance(a, tuple):
        if len(a) != len(b):
            return f"{path}: {len(a)} / {len(b)} parts: {str(a)[:300]} / {str(b)[:300]}"
        parts = [(i, x, y) for i, (x, y) in enumerate(zip(a, b))]
    else:
        return None if a == b else f"{path}: {str(a)[:200]!r} / {str(b)[:200]!r}"
    for key, x, y in parts:
        found = first_difference(x, y, f"{path}.{key}")
        if found:
            return found
    return None


def load_spec(path):
    """A package's model; of pipeline.modelN.mlpackage, that member of pipeline.mlpackage when it has no package itself."""
    if os.path.exists(path):
        return ct.models.utils.load_spec(path)
    package, member = os.path.basename(path).split(".")[:2]
    spec = ct.models.utils.load_spec(os.path.join(os.path.dirname(path), package + ".mlpackage"))
    return spec.pipeline.models[int(member.removeprefix("model"))]


def check(original, rewritten):
    a, b = (load_spec(p) for p in (original, rewritten))
    problems = []
    if a.description != b.description:
        problems.append(f"descriptions differ:\n{a.description}\n---\n{b.description}")
    if a.specificationVersion != b.specificationVersion:
        problems.append(f"versions {a.specificationVersion} / {b.specificationVersion}")
    if build_info(a) != build_info(b):
        problems.append("buildInfo differs")
    difference = first_difference(functions_key(a, Blobs(original)), functions_key(b, Blobs(rewritten)))
    if difference:
        problems.append(f"programs differ at {difference}")
    model = ct.models.MLModel(rewritten, skip_model_load=True)
    milproto.load(b, specification_version=b.specificationVersion, file_weights_dir=model.weights_dir)
    if len(b.mlProgram.functions) == 1 and os.path.exists(original):
        mine = ct.optimize.coreml.get_weights_metadata(model, weight_threshold=10)
        theirs = ct.optimize.coreml.get_weights_metadata(
            ct.models.MLModel(original, skip_model_load=True), weight_threshold=10
        )
        compare_weights(mine, theirs, problems)
    return problems


def compare_weights(mine, theirs, problems):
    """By contents: constants that several ops use may have other names."""

    def contents(metadata):
        return sorted((m.val.dtype.str, m.val.shape, m.val.tobytes(), round(m.sparsity, 9)) for m in metadata.values())

    if contents(mine) != contents(theirs):
        problems.append(f"get_weights_metadata differs: {sorted(mine)} / {sorted(theirs)}")


def main(originals, rewritten, *names):
    names = names or [os.path.basename(p) for p in sorted(glob.glob(os.path.join(rewritten, "*.mlpackage")))]
    failed = 0
    for name in names:
        problems = check(os.path.join(originals, name), os.path.join(rewritten, name))
        failed += bool(problems)
        print(f"{name}: {'same' if not problems else 'DIFFERENT'}")
        for problem in problems:
            print("   ", problem[:3000])
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
