"""A random ONNX graph that grows node by node. Each node is run by ONNX Runtime as it is added, so that the next one can be legal for real values:
indices within bounds, divisors that are not 0, numbers of a sensible size, and nothing that rounding decides (a floor of 2.0000001, a tie of TopK).
"""
import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)
f16, f32, i8, u8, i32, i64, boolean = (numpy.dtype(t) for t in ("float16", "float32", "int8", "uint8", "int32", "int64", "bool"))
FLOATS, WHOLE = (f32, f16), (i32, i64)
LARGEST_TENSOR, LARGEST_NUMBER, SMALLEST_NUMBER = 4096, 1e4, 1e-5

# Ops whose results are exact when their operands are: moves, choices and whole numbers.
EXACT = set("""Abs Neg Relu Identity Max Min Transpose Reshape Flatten Squeeze Unsqueeze Slice Gather GatherElements GatherND ScatterElements ScatterND
Concat Split Tile Expand Pad Where Clip Trilu DepthToSpace SpaceToDepth ReverseSequence MaxPool ReduceMax ReduceMin TopK Compress Sign Shape Size
CastLike GlobalMaxPool Dropout Hardmax OneHot EyeLike Range ConstantOfShape NonZero If CenterCropPad""".split())


class Skip(Exception):
    """This node cannot be here; another one is tried."""


class Value:
    def __init__(self, name, array, exact, coarse, constant=False):
        self.name, self.array, self.exact, self.coarse, self.constant = name, array, exact, coarse, constant

    shape = property(lambda self: self.array.shape)
    rank = property(lambda self: self.array.ndim)
    dtype = property(lambda self: self.array.dtype)


def element_type(dtype):
    return helper.np_dtype_to_tensor_dtype(numpy.dtype(dtype))


def info(name, array, shape=None):
    return helper.make_tensor_value_info(name, element_type(array.dtype), array.shape if shape is None else shape)


def options():
    chosen = onnxruntime.SessionOptions()
    chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    chosen.intra_op_num_threads = chosen.inter_op_num_threads = 1
    return chosen


def answers(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), options(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


class Graph:
    def __init__(self, seed):
        self.rng = numpy.random.default_rng(seed)
        self.opset = int(self.rng.choice([9, 11, 12, 13, 15, 17, 18, 19, 20, 21, 22, 23, 24]))
        self.nodes, self.initialisers, self.inputs, self.values = [], {}, [], []
        self.count = 0
        self.dynamic = self.rng.random() < 0.35
        for _ in range(int(self.rng.integers(1, 4))):
            self.new_input()

    # Chances.
    def chance(self, p):
        return bool(self.rng.random() < p)

    def one(self, choices):
        return choices[int(self.rng.integers(len(choices)))]

    def integer(self, low, high):
        """low..high, both included."""
        return int(self.rng.integers(low, high + 1))

    def name(self, prefix="t"):
        self.count += 1
        return f"{prefix}{self.count}"

    def shape(self, rank=None):
        if rank is None:
            rank = self.one([0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5])
        return tuple(self.one([1, 2, 2, 3, 3, 4, 4, 5, 6, 7] if rank < 4 else [1, 2, 2, 3, 4, 5]) for _ in range(rank))

    def data(self, dtype, shape):
        dtype = numpy.dtype(dtype)
        if dtype == boolean:
            return self.rng.random(shape) < 0.5
        if dtype in (f32, f16, numpy.dtype("float64")):
            # Sixteenths: exact in half precision, too, and no two that almost agree.
            return (numpy.round(self.rng.normal(size=shape) * 24) / 16).astype(dtype)
        if dtype == u8:
            return self.rng.integers(0, 256, shape).astype(u8)
        return self.rng.integers(-9, 10, shape).astype(dtype)

    def new_input(self, dtype=None, shape=None):
        dtype = dtype or self.one([f32] * 8 + [i32, i64, i64, boolean, u8, f16])
        array = numpy.asarray(self.data(dtype, self.shape() if shape is None else shape))
        value = Value(self.name("x"), array, True, dtype == f16)
        self.inputs.append(value)
        self.values.append(value)
        return value

    def const(self, array, as_node=None):
        """A constant as an initialiser or a Constant node."""
        array = numpy.asarray(array)
        name = self.name("c")
        if as_node if as_node is not None else self.chance(0.2):
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name)))
        self.initialisers[name] = array
        return Value(name, array, True, array.dtype == f16, True)

    def pick(self, dtypes=FLOATS, ranks=range(0, 6), where=None):
        """A value made so far, later ones more often; sometimes a new input or constant."""
        wanted = [v for v in self.values if v.dtype in dtypes and v.rank in ranks and v.array.size and (where is None or where(v))]
        if wanted and not self.chance(0.08):
            return wanted[-1 - min(int(self.rng.exponential(2.5)), len(wanted) - 1)]
        if len(self.inputs) < 6 and where is None:
            return self.new_input(self.one(list(dtypes)), self.shape(self.one([r for r in ranks if r < 6])))
        if wanted:
            return self.one(wanted)
        raise Skip

    def partner(self, value, dtype=None, constant=None):
        """Something that `value` can be broadcast with."""
        dtype = numpy.dtype(dtype or value.dtype)

        def fits(other):
            try:
                return numpy.broadcast_shapes(other.shape, value.shape) is not None
            except ValueError:
                return False
        found = [v for v in self.values if v.dtype == dtype and v.array.size and fits(v)]
        if found and not constant and self.chance(0.6):
            return self.one(found)
        shape = list(value.shape)
        for i in range(len(shape)):
            if self.chance(0.3):
                shape[i] = 1
        if self.chance(0.4):
            shape = shape[self.integer(0, len(shape)):]
        if constant or self.chance(0.6) or len(self.inputs) > 5:
            return self.const(self.data(dtype, shape))
        return self.new_input(dtype, shape)

    def axis(self, value, signed=True):
        if not value.rank:
            raise Skip
        at = self.integer(0, value.rank - 1)
        return at - value.rank if signed and self.chance(0.4) else at

    def node(self, op, inputs, outputs=1, exact=None, keep=True, **attributes):
        """Adds a node and what it makes, unless ONNX Runtime refuses it or its results are of no use."""
        given = [v for v in inputs if v is not None]
        captured = attributes.pop("captured", [])
        names = [self.name() for _ in range(outputs)]
        node = helper.make_node(op, [v.name if v is not None else "" for v in inputs], names, **attributes)
        everything = {v.name: v for v in given + captured}.values()
        made = self.run(node, everything)
        is_exact = exact if exact is not None else op in EXACT and all(v.exact for v in everything)
        coarse = any(v.coarse for v in everything) or any(made[n].dtype == f16 for n in names)
        results = []
        for name in names:
            array = made[name]
            whole = array.dtype.kind in "iub"
            results.append(Value(name, array, bool(is_exact or whole), bool(coarse and not whole)))
        self.nodes.append(node)
        if keep:
            self.values += results
        return results[0] if outputs == 1 else results

    def run(self, node, given):
        constants = [v for v in given if v.constant]
        graph = helper.make_graph([node], "g", [info(v.name, v.array) for v in given if not v.constant], [onnx.ValueInfoProto(name=n) for n in node.output],
                                  [numpy_helper.from_array(v.array, v.name) for v in constants])
        try:
            made = answers(self.wrapped(graph), {v.name: v.array for v in given if not v.constant})
        except Exception as error:
            raise Skip(str(error)) from error
        for array in made.values():
            # Core ML has no tensors without elements.
            if not isinstance(array, numpy.ndarray) or not 0 < array.size <= LARGEST_TENSOR or array.ndim > 5 or array.dtype.kind not in "fiub":
                raise Skip
            if array.dtype.kind == "f" and not numpy.all(numpy.abs(array) <= LARGEST_NUMBER):
                raise Skip
            # What is left of a difference that should be 0.
            if array.dtype.kind == "f" and 0 < numpy.abs(array).max() < SMALLEST_NUMBER:
                raise Skip
            if array.dtype.kind == "i" and array.size and numpy.abs(array.astype("int64")).max() > 1 << 20:
                raise Skip
        return made

    def wrapped(self, graph):
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=10)

    def settled(self, value, step):
        """Whether rounding cannot decide what a jump at each multiple of `step` gives."""
        if value.exact:
            return True
        scaled = value.array.astype(numpy.float64) / step
        return bool(numpy.all(numpy.abs(scaled - numpy.round(scaled)) > (0.1 if value.coarse else 0.01)))

    def apart(self, value, axis=None):
        """Whether no two elements along the axis (or any) are almost equal."""
        if value.exact:
            return True
        ordered = numpy.sort(value.array.astype(numpy.float64), axis=axis)
        gaps = numpy.diff(ordered, axis=-1 if axis is None else axis)
        return bool(numpy.all(gaps > (0.05 if value.coarse else 1e-3)))

    def model(self):
        """The graph with everything that nobody reads as outputs, and perhaps some more; inputs nobody reads go."""
        read = {name for node in self.nodes for name in node.input} | captured_names(self.nodes)
        self.nodes = [n for n in self.nodes if n.op_type != "Constant" or n.output[0] in read]
        outputs = [v for v in self.values if v.name not in read and v not in self.inputs]
        outputs += [v for v in self.values if v.name in read and v not in self.inputs and self.chance(0.08)]
        if not outputs:
            raise Skip
        inputs = [v for v in self.inputs if v.name in read]
        if not inputs:
            raise Skip
        made_here = {name for node in self.nodes for name in node.output}
        letters = {}
        shapes = {}
        for v in inputs:
            # A size that stays open has one name throughout the model, as exporters do it, or one of its own.
            shapes[v.name] = [letters.setdefault(size, f"n{size}") if self.chance(0.6) else f"{v.name}_{i}" for i, size in enumerate(v.shape)]
            shapes[v.name] = [s if self.dynamic and self.chance(0.4) else size for s, size in zip(shapes[v.name], v.shape)]
        graph = helper.make_graph(self.nodes, "random", [info(v.name, v.array, shapes[v.name]) for v in inputs],
                                  [info(v.name, v.array, [None] * v.rank) for v in outputs],
                                  [numpy_helper.from_array(a, n) for n, a in self.initialisers.items() if n in read and n not in made_here])
        return self.wrapped(graph), {v.name: v.array for v in inputs}, {v.name for v in outputs if v.coarse}


def captured_names(nodes):
    """What the bodies of nodes read from outside."""
    names = set()
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                names |= {n for inner in attribute.g.node for n in inner.input} | captured_names(attribute.g.node)
                names |= {o.name for o in attribute.g.output}
    return names


def grow(seed):
    """A model, its inputs and the outputs that were computed in half precision."""
    import random_layers  # noqa: F401 (adds its operators)
    import random_rare  # noqa: F401
    from random_operators import OPERATORS
    g = Graph(seed)
    weights = numpy.array([w for _, w in OPERATORS], float)
    wanted = g.integer(5, 40)
    for _ in range(wanted * 6):
        if sum(node.op_type != "Constant" for node in g.nodes) >= wanted:
            break
        emit = OPERATORS[int(g.rng.choice(len(OPERATORS), p=weights / weights.sum()))][0]
        try:
            emit(g)
        except Skip:
            continue
    return g.model()
