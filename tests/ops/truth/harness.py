"""Writes test cases whose expected values come from outside the C++ sources.

A case is one small ML Program around one op, inputs, and the outputs that coremltools' own constant folding or a NumPy
formula gives.  `Suite.op` builds the op with coremltools' MIL builder (so its type inference and checks apply), exports
it with every constant immediate, and compares the folded value with the formula whenever both exist.  `Suite.program`
does the same for several ops, `Suite.raw` writes the proto directly, for files that the builder would refuse to make.

Files of a case NAME: NAME.mlmodel, NAME.npz, NAME.json; index.json lists them.
  in.X      value of function input X (for a state: content before the run)
  out.K     value of block output K; sub-byte values are stored one per byte, true dtype in json "sub_byte"
  state.X   content of state X after the run
  rtol, atol   tolerances;  expect_error (uint8 1)  the case must be rejected, at loading or at running
json "outputs" appears where an output has no array form: {"0": {"string": ..}} {"0": {"int64": ..}} {"1": {"dictionary": [[k, v], ..]}}.
json "source" says where the values come from: "fact sheet" = the op's written rule applied by hand, "fact sheet vector" =
numbers from coremltools' unit tests; "reading" names the reading of a doubtful rule that the case pins.
json "check" says how to compare when it is not elementwise: "distribution" (random ops).

To exercise readers, the same constants are stored in three ways by turns (json "constants"): "consts" = const ops with all
defaults explicit, "omitted" = inputs the case did not set are missing, "inline" = bound as values in the operation.
"""

import json
import logging
import os
import zlib

import numpy as np

logging.disable(logging.WARNING)  # coremltools warns about its missing macOS parts
import coremltools as ct
from coremltools import proto
from coremltools.converters.mil.backend.mil import load as mil_load
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Placeholder, Program, get_new_symbol, types
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry
from coremltools.converters.mil.mil.ops.defs import _op_reqs  # noqa: F401  (importing registers the ops)

mil_load.should_use_weight_file = lambda value, specification_version=None: False
mil_load.BlobWriter = mil_load.BlobWriter or object

MIL = proto.MIL_pb2
TARGETS = {15: ct.target.iOS15, 16: ct.target.iOS16, 17: ct.target.iOS17, 18: ct.target.iOS18}
OPSETS = {15: "CoreML5", 16: "CoreML6", 17: "CoreML7", 18: "CoreML8"}
SPECIFICATION_VERSIONS = {15: 6, 16: 7, 17: 8, 18: 9}

# numpy dtype name -> (MIL DataType, TensorValue field)
STORAGE = {
    "bool": ("BOOL", "bools"),
    "float16": ("FLOAT16", "bytes"),
    "float32": ("FLOAT32", "floats"),
    "float64": ("FLOAT64", "doubles"),
    "int8": ("INT8", "bytes"),
    "uint8": ("UINT8", "bytes"),
    "int16": ("INT16", "ints"),
    "uint16": ("UINT16", "ints"),
    "int32": ("INT32", "ints"),
    "uint32": ("UINT32", "bytes"),
    "int64": ("INT64", "longInts"),
}
BUILTIN = {
    "bool": types.bool,
    "float16": types.fp16,
    "float32": types.fp32,
    "int8": types.int8,
    "uint8": types.uint8,
    "int16": types.int16,
    "uint16": types.uint16,
    "int32": types.int32,
}
SUB_BYTE_BITS = {"int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6}


class In:
    """A function input; `dims` replaces the declared shape, None in it is an unknown dimension."""

    def __init__(self, value, dims=None):
        self.value = np.asarray(value)
        self.dims = tuple(self.value.shape) if dims is None else tuple(dims)


class SubByte:
    """A constant of a type narrower than a byte: values one per element, `dtype` such as "uint4"."""

    def __init__(self, value, dtype):
        self.value = np.asarray(value)
        self.dtype = dtype

    def packed(self):
        bits = SUB_BYTE_BITS[self.dtype]
        flat = self.value.astype(np.int64).ravel() & ((1 << bits) - 1)
        stream = ((flat[:, None] >> np.arange(bits)) & 1).astype(np.uint8).ravel()
        return np.packbits(stream, bitorder="little").tobytes()


def class_versions(op):
    """First targets (15..18) of each class version of `op`, as coremltools registers them."""
    seen, result = [], []
    for number, target in TARGETS.items():
        cls = SSAOpRegistry.core_ops.get(op, {}).get(target)
        if cls is not None and cls not in seen:
            seen.append(cls)
            result.append(number)
    return result


def since_of(op, opset):
    """First target of the class version in force at `opset`; for an op that is not there, when it comes."""
    if op == "write_state":
        return 18
    versions = class_versions(op)
    return max([v for v in versions if v <= opset] or versions[:1] or [opset])


def last_opset_of(op, since):
    """Newest opset in which that class version is still in force."""
    return max(v for v in OPSETS if since_of(op, v) == since)


def all_class_versions():
    return [(op, v) for op in sorted(SSAOpRegistry.core_ops) if not op.startswith("_") for v in class_versions(op)]


def seeded(*words):
    return np.random.default_rng(zlib.crc32("/".join(str(w) for w in words).encode()))


# ---- proto pieces written by hand ----


def value_type(shape, dtype):
    """dtype: numpy dtype name, sub-byte name or "string"; None in shape = unknown dimension."""
    out = MIL.ValueType()
    tensor = out.tensorType
    name = STORAGE[dtype][0] if dtype in STORAGE else dtype.upper()
    tensor.dataType = MIL.DataType.Value(name)
    tensor.rank = len(shape)
    for extent in shape:
        dimension = tensor.dimensions.add()
        if extent is None:
            dimension.unknown.variadic = False
        else:
            dimension.constant.size = int(extent)
    return out


def value_proto(value):
    out = MIL.Value()
    tensor = out.immediateValue.tensor
    if isinstance(value, str):
        out.type.CopyFrom(value_type((), "string"))
        tensor.strings.values.append(value)
        return out
    if isinstance(value, SubByte):
        out.type.CopyFrom(value_type(value.value.shape, value.dtype))
        tensor.bytes.values = value.packed()
        return out
    array = normalised(value)
    out.type.CopyFrom(value_type(array.shape, array.dtype.name))
    field = STORAGE[array.dtype.name][1]
    if field == "bytes":
        tensor.bytes.values = array.astype(array.dtype.newbyteorder("<")).tobytes()
    else:
        holder = getattr(tensor, field)
        holder.SetInParent()
        holder.values.extend(array.ravel().tolist())
    return out


def normalised(value):
    """Python and NumPy values as coremltools would type them: floats fp32, ints int32."""
    array = np.asarray(value)
    if array.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
        return array.astype(np.float32)
    if array.dtype == np.int64 and not (isinstance(value, (np.ndarray, np.generic)) and array.ndim):
        return array.astype(np.int32)
    return array


class Suite:
    def __init__(self, folder, only=None):
        self.folder = folder
        self.only = only
        self.index = []
        self.names = {}
        self.disagreements = []
        self.problems = []
        self.covered = set()
        self.bytes_written = 0

    # ---- one op through the builder ----

    def op(self, op, opset, label, inputs, want, fold=True, **options):
        """`want`: one array or the list of them. `fold=False` where coremltools' folding is absent or known to be wrong.
        The first case of a class version is written once more for the newest opset in which that version holds."""
        if self.only and op != self.only:
            return
        since = since_of(op, opset)
        first = (op, since) not in self.covered
        self.one_op(op, opset, label, inputs, want, fold, **options)
        if first and last_opset_of(op, since) > opset:
            self.one_op(op, last_opset_of(op, since), label, inputs, want, fold, **options)

    def one_op(
        self, op, opset, label, inputs, want, fold, reading="", source=None, rtol=None, atol=None, accumulate=False
    ):
        try:
            folded = self.fold(op, opset, inputs) if fold else None
            program, output_types, sub_byte = self.build(op, opset, inputs)
        except Exception as error:  # the builder raises many kinds; each is reported, none is skipped in silence
            self.problems.append(f"{op} iOS{opset} {label}: {type(error).__name__}: {str(error)[:300]}")
            return
        source = source or ("numpy" if folded is None else "numpy and coremltools value_inference")
        program_proto = self.export(program, opset)
        style = self.by_name(op, opset, label, ("consts", "omitted", "inline"))
        restyle(program_proto, op, set(inputs), style)
        arrays = want if isinstance(want, (list, tuple)) else [want]
        want_typed = [typed(w, t) for w, t in zip(arrays, output_types)]
        if folded is not None:
            self.cross_check(op, opset, label, want_typed, folded, output_types, accumulate, rtol, atol)
        self.write(
            op,
            opset,
            label,
            program_proto,
            function_inputs(inputs),
            want_typed,
            reading=reading,
            source=source,
            rtol=rtol,
            atol=atol,
            accumulate=accumulate,
            style=style,
            sub_byte=sub_byte,
        )

    def fold(self, op, opset, inputs):
        """coremltools' value_inference with every input constant, or None where it has none."""
        with Function({}, opset_version=TARGETS[opset]):
            arguments = {name: builder_constant(value) for name, value in inputs.items()}
            try:
                with np.errstate(all="ignore"):
                    result = getattr(mb, op)(**arguments)
            except Exception:
                return None
        result = list(result) if isinstance(result, (tuple, list)) else [result]
        values = [r.val for r in result]
        if any(v is None for v in values) and hasattr(result[0].op, "materialized_val_inference"):
            values = result[0].op.materialized_val_inference()
            values = list(values) if isinstance(values, tuple) else [values]
        if any(v is None for v in values):
            return None
        return [np.asarray(v) for v in values]

    def build(self, op, opset, inputs):
        placeholders = placeholders_of(inputs)
        with Function(placeholders, opset_version=TARGETS[opset]) as function:
            arguments = {name: builder_argument(name, value, function) for name, value in inputs.items()}
            with np.errstate(all="ignore"):
                result = getattr(mb, op)(name="result", **arguments)
            result = list(result) if isinstance(result, (tuple, list)) else [result]
            function.set_outputs(result)
        names = {str(k): types.builtin_to_string(r.dtype) for k, r in enumerate(result) if type_of(r) is not None}
        return (
            as_program(function),
            [type_of(r) for r in result],
            {k: n for k, n in names.items() if n in SUB_BYTE_BITS},
        )

    def by_name(self, op, opset, label, choices):
        """A choice that depends on the next case's name only, so that --only writes the same files."""
        stem = f"{op}.iOS{opset}.{label}"
        return choices[zlib.crc32(f"{stem}.{self.names.get(stem, 0)}".encode()) % len(choices)]

    # ---- several ops through the builder ----

    def program(self, op, opset, label, inputs, build, want, states=None, states_after=None, **options):
        """`build(v)` gets the function inputs by name and returns the list of output variables.
        `states`: name -> fp16 array before the run; `states_after`: name -> array after it."""
        if self.only and op != self.only:
            return
        placeholders = placeholders_of(inputs)
        for name, value in (states or {}).items():
            placeholders[name] = mb.state_tensor_placeholder(value.shape, dtype=BUILTIN[value.dtype.name])
        try:
            with Function(placeholders, opset_version=TARGETS[opset]) as function:
                result = build(dict(function.inputs))
                function.set_outputs(list(result))
            program_proto = self.export(as_program(function), opset)
        except Exception as error:
            self.problems.append(f"{op} iOS{opset} {label}: {type(error).__name__}: {str(error)[:300]}")
            return
        want_typed = []
        for w, r in zip(want, result):
            want_typed.append(w if isinstance(w, dict) or w is None else typed(w, type_of(r)))
        self.write(
            op,
            opset,
            label,
            program_proto,
            {**function_inputs(inputs), **(states or {})},
            want_typed,
            states_after=states_after,
            **options,
        )

    # ---- proto written directly ----

    def raw(
        self,
        op,
        opset,
        label,
        inputs,
        want=None,
        out_dims=None,
        expect_error=False,
        attributes=False,
        out_types=None,
        **options,
    ):
        """inputs: name -> In | constant | list of those. `want`: arrays, also the source of the output types
        (`out_types`: (shape, dtype) pairs when there is no value). attributes=True puts operands where iOS16 constexpr has them.
        """
        if self.only and op != self.only:
            return
        program = MIL.Program(version=1)
        function = program.functions["main"]
        function.opset = OPSETS[opset]
        block = function.block_specializations[OPSETS[opset]]
        arrays = {}
        operation = MIL.Operation(type=op)
        operation.attributes["name"].CopyFrom(value_proto("result"))
        style = self.by_name(op, opset, label, ("consts", "inline"))
        if op.startswith("constexpr_"):
            style = "attributes" if attributes else "inline"
        for name, value in inputs.items():
            for k, item in enumerate(value if isinstance(value, (list, tuple)) else [value]):
                item_name = f"{name}{k}" if isinstance(value, (list, tuple)) else name
                if attributes:
                    operation.attributes[name].CopyFrom(value_proto(item))
                    continue
                binding = operation.inputs[name].arguments.add()
                if isinstance(item, In):
                    declared = function.inputs.add(name=item_name)
                    declared.type.CopyFrom(value_type(item.dims, item.value.dtype.name))
                    arrays[item_name] = item.value
                    binding.name = item_name
                elif style == "inline":
                    binding.value.CopyFrom(value_proto(item))
                else:
                    block.operations.append(const_operation(f"result_{item_name}_0", item))
                    binding.name = f"result_{item_name}_0"
        want = [] if want is None else list(want) if isinstance(want, (list, tuple)) else [want]
        for k, (shape, dtype) in enumerate(out_types or [(w.shape, w.dtype.name) for w in want]):
            name = "result" if len(out_types or want) == 1 else f"result_{k}"
            operation.outputs.add(name=name).type.CopyFrom(value_type(out_dims[k] if out_dims else shape, dtype))
            block.outputs.append(name)
        block.operations.append(operation)
        self.write(
            op,
            opset,
            label,
            program,
            arrays,
            want,
            expect_error=expect_error,
            style=style,
            sub_byte={str(k): d for k, (_, d) in enumerate(out_types or []) if d in SUB_BYTE_BITS},
            **options,
        )

    def error(self, op, opset, label, inputs, out_types, reading="", **options):
        """A file that must be refused. `out_types`: [(shape, dtype)] a careless writer would have declared."""
        self.raw(
            op,
            opset,
            label,
            inputs,
            out_types=out_types,
            expect_error=True,
            reading=reading,
            source="fact sheet",
            **options,
        )

    # ---- output ----

    def export(self, program, opset):
        exporter = mil_load.MILProtoExporter(program, "", SPECIFICATION_VERSIONS[opset])
        return exporter.export()

    def write(
        self,
        op,
        opset,
        label,
        program,
        arrays,
        want,
        states_after=None,
        expect_error=False,
        reading="",
        source=None,
        rtol=None,
        atol=None,
        accumulate=False,
        style=None,
        note=None,
        sub_byte=None,
        check=None,
        extra=None,
    ):
        since = since_of(op, opset)
        stem = f"{op}.iOS{opset}.{label}"
        number = self.names.get(stem, 0)
        self.names[stem] = number + 1
        name = f"{stem}.{number:03d}"
        rtol, atol = tolerances(want, rtol, atol, accumulate)
        model = proto.Model_pb2.Model(specificationVersion=SPECIFICATION_VERSIONS[opset])
        model.mlProgram.CopyFrom(program)
        data = model.SerializeToString(deterministic=True)
        entries = {f"in.{k}": v for k, v in arrays.items()}
        outputs_without_array = {}
        for k, w in enumerate(want):
            if isinstance(w, dict):
                outputs_without_array[str(k)] = w
            elif w is not None:
                entries[f"out.{k}"] = np.ascontiguousarray(w).reshape(w.shape)
        entries.update({f"state.{k}": v for k, v in (states_after or {}).items()})
        entries["rtol"] = np.float64(rtol)
        entries["atol"] = np.float64(atol)
        if expect_error:
            entries["expect_error"] = np.uint8(1)
        about = {
            "op": op,
            "since": f"iOS{since}",
            "opset": OPSETS[opset],
            "source": source or "numpy",
            "reading": reading,
        }
        about.update(
            {
                k: v
                for k, v in {
                    "constants": style,
                    "note": note,
                    "outputs": outputs_without_array,
                    "sub_byte": sub_byte,
                    "check": check,
                }.items()
                if v
            }
        )
        about.update(extra or {})
        base = os.path.join(self.folder, name)
        with open(base + ".mlmodel", "wb") as file:
            file.write(data)
        np.savez(base + ".npz", **entries)
        with open(base + ".json", "w") as file:
            json.dump(about, file)
        self.bytes_written += len(data) + os.path.getsize(base + ".npz")
        self.index.append({"name": name, "op": op, "since": f"iOS{since}", "opset": OPSETS[opset]})
        self.covered.add((op, since))

    def cross_check(self, op, opset, label, want, folded, output_types, accumulate, rtol, atol):
        for k, (w, f, t) in enumerate(zip(want, folded, output_types)):
            f = typed(f, t)
            r, a = tolerances([w], rtol, atol, accumulate)
            if w.dtype == np.float16:  # folding rounds every intermediate result to half
                a = max(a, 2e-3)
            if (
                w.shape != f.shape
                or (w.dtype.kind in "iub" and not np.array_equal(w, f))
                or (
                    w.dtype.kind == "f"
                    and not np.allclose(
                        w.astype(np.float64),
                        f.astype(np.float64),
                        rtol=max(4 * r, 1e-6),
                        atol=max(a, 1e-7),
                        equal_nan=True,
                    )
                )
            ):
                self.disagreements.append(
                    f"{op} iOS{opset} {label} output {k}: formula {w.ravel()[:6]} {w.shape}, folded {f.ravel()[:6]} {f.shape}"
                )


def const_operation(name, value):
    operation = MIL.Operation(type="const")
    operation.attributes["name"].CopyFrom(value_proto(name))
    proto_value = value_proto(value)
    operation.attributes["val"].CopyFrom(proto_value)
    operation.outputs.add(name=name).type.CopyFrom(proto_value.type)
    return operation


def restyle(program, op, given, style):
    """Rewrites how the constants of operation `op` are stored; see the file's first lines."""
    if style == "consts" or op.startswith("constexpr_"):
        return
    for block in program.functions["main"].block_specializations.values():
        constants = {o.outputs[0].name: o for o in block.operations if o.type == "const"}
        for operation in block.operations:
            if operation.type != op:
                continue
            for name in list(operation.inputs):
                if style == "omitted" and name not in given:
                    del operation.inputs[name]
                elif style == "inline":
                    for binding in operation.inputs[name].arguments:
                        if binding.name in constants:
                            binding.value.CopyFrom(constants[binding.name].attributes["val"])
        used = {b.name for o in block.operations for i in o.inputs.values() for b in i.arguments if b.name}
        kept = [o for o in block.operations if o.type != "const" or o.outputs[0].name in used | set(block.outputs)]
        del block.operations[:]
        block.operations.extend(kept)


def flat_inputs(inputs):
    for name, value in inputs.items():
        if isinstance(value, (list, tuple)) and any(isinstance(v, In) for v in value):
            for k, item in enumerate(value):
                if isinstance(item, In):
                    yield f"{name}{k}", item
        elif isinstance(value, In):
            yield name, value


def function_inputs(inputs):
    return {name: item.value for name, item in flat_inputs(inputs)}


def placeholders_of(inputs):
    result = {}
    for name, item in flat_inputs(inputs):
        shape = tuple(get_new_symbol() if d is None else d for d in item.dims)
        result[name] = Placeholder(shape, dtype=BUILTIN[item.value.dtype.name], allow_rank0_input=True)
    return result


def builder_constant(value):
    if isinstance(value, In):
        return mb.const(val=value.value[()] if value.value.ndim == 0 else value.value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, In) for v in value):
        return tuple(builder_constant(v) for v in value)
    return sub_byte_array(value)


def builder_argument(name, value, function):
    if isinstance(value, In):
        return function.inputs[name]
    if isinstance(value, (list, tuple)) and any(isinstance(v, In) for v in value):
        return tuple(function.inputs[f"{name}{k}"] if isinstance(v, In) else v for k, v in enumerate(value))
    return sub_byte_array(value)


def sub_byte_array(value):
    if isinstance(value, SubByte):
        return value.value.astype(getattr(types, f"np_{value.dtype}_dtype"))
    return value


def as_program(function):
    program = Program()
    program.add_function("main", function)
    program.skip_all_passes = True
    return program


def type_of(variable):
    """numpy dtype of a builder variable, or None where it is no tensor."""
    if types.is_tensor(variable.sym_type) or types.is_scalar(variable.sym_type):
        return np.dtype(types.nptype_from_builtin(variable.dtype))
    return None


def typed(value, dtype):
    array = np.asarray(value)
    if dtype is None or array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def tolerances(want, rtol, atol, accumulate):
    arrays = [w for w in want if isinstance(w, np.ndarray) and w.dtype.kind == "f"]
    if not arrays:
        return 0.0, 0.0
    half = any(w.dtype == np.float16 for w in arrays)
    if rtol is None:
        rtol = 2e-3 if half else 1e-5
    elif half and rtol:
        rtol = max(rtol, 2e-3)
    if atol is None:
        atol = 0.0 if rtol == 0 else 1e-7
        if accumulate and rtol:
            finite = [np.abs(w[np.isfinite(w)]).max(initial=0) for w in arrays]
            atol = max(atol, float(rtol * max(finite)))
    return float(rtol), float(atol)


def dtypes_of(op, opset, input_name):
    """NumPy dtype names the input may have in that class version."""
    cls = SSAOpRegistry.core_ops[op][TARGETS[opset]]
    kind = cls.input_spec.input_types[input_name]
    domain = cls.type_domains[kind.type_domain_id] if kind.type_domain_id else kind.type_domain
    names = [np.dtype(types.nptype_from_builtin(t)).name for t in domain if t is not types.str]
    return sorted(set(names))


def by_turns(names, k):
    """All of them for the first case of a series, then one after the other."""
    return list(names) if k == 0 else [names[k % len(names)]]


def wide(value):
    """float64 for floats, int64 for ints: what the formulas compute in."""
    array = np.asarray(value)
    return array.astype(
        np.float64 if array.dtype.kind == "f" else np.int64 if array.dtype.kind in "iu" else array.dtype
    )


def narrow(value, dtype):
    """A formula's float64 result as dtype; integer results are truncated toward zero."""
    array = np.asarray(value)
    with np.errstate(all="ignore"):
        return (
            np.trunc(array).astype(dtype)
            if np.dtype(dtype).kind in "iu" and array.dtype.kind == "f"
            else array.astype(dtype)
        )


def random_array(rng, shape, dtype="float32", low=-2.0, high=2.0):
    kind = np.dtype(dtype).kind
    if kind == "f":
        return rng.uniform(low, high, shape).astype(dtype)
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -100), min(info.max, 100) + 1, shape).astype(dtype)
