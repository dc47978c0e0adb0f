"""What may be added to a random graph (graph.py): a function per kind of node, and how often it is chosen."""
import numpy

from graph import FLOATS, Skip, WHOLE, boolean, element_type, f16, f32, i8, i32, i64, u8

NUMBERS = (f32, f16, i32, i64)
ANY = (f32, f32, i32, i64, boolean, u8, f16)
OPERATORS = []


def operator(weight=1.0):
    def note(function):
        OPERATORS.append((function, weight))
        return function
    return note


def whole(values, dtype=i64):
    return numpy.array(values, dtype)


# Elementwise.
def smooth():
    return ("Sigmoid Tanh Exp Sqrt Log Erf Sin Cos Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Softplus Softsign Reciprocal Tan Mish HardSwish Gelu "
            "Elu Selu LeakyRelu HardSigmoid Celu ThresholdedRelu Abs Neg Relu Identity Shrink").split()


@operator(8)
def unary(g):
    op = g.one(smooth())
    x = g.pick(FLOATS)
    attributes = {}
    if op in ("Elu", "LeakyRelu", "Celu", "ThresholdedRelu") and g.chance(0.6):
        attributes["alpha"] = g.one([0.1, 0.3, 1.5])
    if op == "HardSigmoid" and g.chance(0.6):
        attributes.update(alpha=g.one([0.3, 0.25]), beta=g.one([0.4, 0.6]))
    if op == "Selu" and g.chance(0.4):
        attributes.update(alpha=1.5, gamma=1.1)
    if op == "Gelu" and g.chance(0.5):
        attributes["approximate"] = g.one(["none", "tanh"])
    if op == "Shrink":
        attributes.update(lambd=0.53, bias=g.one([0.0, 0.25]))
    if op in ("ThresholdedRelu", "Shrink") and not x.exact:
        raise Skip
    if op in ("Tan", "Reciprocal", "Log") and numpy.any(numpy.abs(numpy.cos(x.array) if op == "Tan" else x.array) < 0.05):
        raise Skip
    if op == "Acosh" and numpy.any(x.array < 1.01) or op in ("Asin", "Acos", "Atanh") and numpy.any(numpy.abs(x.array) > 0.99):
        raise Skip
    if op == "Sqrt" and not x.exact and numpy.any(x.array < 1e-3):
        raise Skip
    g.node(op, [x], **attributes)


@operator(1)
def unary_whole(g):
    g.node(g.one(["Abs", "Neg", "Sign", "Identity", "Relu"]), [g.pick(WHOLE + (i8,))])


@operator(1.5)
def rounding(g):
    x = g.pick(FLOATS)
    if not g.settled(x, 0.5):
        raise Skip
    g.node(g.one(["Floor", "Ceil", "Round", "Sign"]), [x])


@operator(8)
def binary(g):
    x = g.pick(NUMBERS)
    y = g.partner(x)
    if g.chance(0.5):
        x, y = y, x
    op = g.one(["Add", "Sub", "Mul", "Div", "Add", "Mul"])
    if op == "Div" and numpy.any(numpy.abs(y.array) < (0.05 if y.dtype in FLOATS else 1)):
        raise Skip
    g.node(op, [x, y])


@operator(1.5)
def several(g):
    x = g.pick(NUMBERS)
    op = g.one(["Max", "Min"] if x.dtype in WHOLE else ["Max", "Min", "Sum", "Mean"])
    g.node(op, [x] + [g.partner(x) for _ in range(g.integer(0, 2))])


@operator(1)
def power(g):
    x = g.pick(NUMBERS)
    if x.dtype in FLOATS and numpy.any(x.array < 0.05):
        y = g.const(numpy.array(g.one([2, 3, 1, 0]), x.dtype))
    else:
        y = g.const(numpy.array(g.one([2, 3]) if x.dtype in WHOLE else g.one([0.5, 2, -1, 1.5, -0.5]), x.dtype))
    if numpy.any(numpy.abs(x.array) > 30):
        raise Skip
    g.node("Pow", [x, y])


@operator(1)
def modulo(g):
    x = g.pick(WHOLE + (f32,))
    y = g.partner(x)
    if x.dtype == f32 and not (x.exact and y.exact and numpy.all(numpy.abs(y.array) >= 0.06)) or numpy.any(y.array == 0):
        raise Skip
    g.node("Mod", [x, y], fmod=1 if x.dtype == f32 or g.chance(0.4) else 0)


@operator(2)
def comparison(g):
    x = g.pick(NUMBERS)
    y = g.partner(x)
    op = g.one(["Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual"])
    if not (x.exact and y.exact) and numpy.any(numpy.abs(x.array.astype(f32) - y.array.astype(f32)) < (0.1 if x.coarse or y.coarse else 2e-3)):
        raise Skip
    g.node(op, [x, y])


@operator(1.5)
def logic(g):
    x = g.pick((boolean,))
    if g.chance(0.3):
        g.node("Not", [x])
    else:
        g.node(g.one(["And", "Or", "Xor"]), [x, g.partner(x)])


@operator(0.7)
def bits(g):
    x = g.pick((i32, i64, u8))
    if x.dtype == u8 and g.chance(0.4):
        g.node("BitShift", [x, g.const(g.rng.integers(0, 8, x.shape).astype(u8))], direction=g.one(["LEFT", "RIGHT"]))
    elif g.chance(0.3):
        g.node("BitwiseNot", [x])
    else:
        g.node(g.one(["BitwiseAnd", "BitwiseOr", "BitwiseXor"]), [x, g.partner(x)])


@operator(2)
def where(g):
    x = g.pick(ANY)
    c = g.partner(x, boolean)
    y = g.partner(x)
    if g.chance(0.15) and x.dtype == f32:
        y = g.const(numpy.array(g.one([-1e4, 0.0, -9999.0]), f32))
    g.node("Where", [c, x, y] if g.chance(0.5) else [c, y, x])


@operator(1)
def masked_softmax(g):
    x = g.pick((f32,), range(1, 5))
    if x.shape[-1] < 2:
        raise Skip
    mask = g.data(boolean, x.shape)
    mask[..., 0] = True
    m = g.node("Where", [g.const(mask), g.const(numpy.array(0, f32)), g.const(numpy.array(g.one([-1e4, -3e4]), f32))], keep=False) if g.chance(0.5) else \
        g.const(numpy.where(mask, 0, g.one([-numpy.inf, numpy.finfo(f32).min, -1e9])).astype(f32))
    g.node("Softmax", [g.node("Add", [x, m], keep=False) if numpy.all(numpy.isfinite(m.array)) and m.array.min() > -1e4 else g.node("Max", [x, g.const(numpy.array(-3, f32))]), ],
           axis=-1)


@operator(2.5)
def cast(g):
    x = g.pick(ANY)
    to = g.one([f32, f32, f16, i32, i64, boolean, u8, numpy.dtype("float64")])
    if x.dtype in FLOATS and to not in FLOATS and to != boolean:
        if not g.settled(x, 1) or to == u8 and (numpy.any(x.array < 0) or numpy.any(x.array > 255)):
            raise Skip
    if x.dtype in FLOATS and to == boolean and not x.exact and numpy.any(numpy.abs(x.array) < 1e-3):
        raise Skip
    if x.dtype in WHOLE and to == f16 and numpy.any(numpy.abs(x.array) > 2048):
        raise Skip
    if x.dtype in WHOLE and to == u8 and numpy.any((x.array < 0) | (x.array > 255)):
        raise Skip
    if to == numpy.dtype("float64"):
        y = g.node("Cast", [x], to=element_type(to), keep=False)
        g.node("Cast", [y], to=element_type(f32))
        return
    g.node("Cast", [x], to=element_type(to), exact=x.exact)


@operator(1)
def clip(g):
    x = g.pick(NUMBERS)
    low, high = sorted(g.one([(-1, 2), (0, 6), (-3, 0), (1, 1)]))
    if g.opset < 11:
        g.node("Clip", [x], min=float(low), max=float(high))
    else:
        bounds = [g.const(numpy.array(low, x.dtype)) if g.chance(0.8) else None, g.const(numpy.array(high, x.dtype)) if g.chance(0.8) else None]
        g.node("Clip", [x] + bounds)


@operator(0.5)
def prelu(g):
    x = g.pick((f32,), range(1, 5))
    slope = g.one([(1,), (x.shape[1], *([1] * (x.rank - 2))) if x.rank > 1 else x.shape, x.shape])
    g.node("PRelu", [x, g.const(g.data(f32, slope))])


# Reductions and what orders elements.
@operator(4)
def reduction(g):
    op = g.one(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum"])
    x = g.pick((f32, f32, f16, i32, i64) if op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceMean") else FLOATS)
    # A product that leaves fp32's range on its way depends on the order of its factors.
    if op == "ReduceProd" and not x.exact and numpy.any(numpy.abs(x.array) < 1e-4):
        raise Skip
    if op == "ReduceProd" and numpy.log2(numpy.maximum(numpy.abs(x.array.astype(numpy.float64)), 1)).sum() > 100:
        raise Skip
    if op == "ReduceLogSum" and numpy.any(x.array < 0.1):
        raise Skip
    if op == "ReduceMean" and x.dtype in WHOLE:
        raise Skip
    keepdims = g.one([0, 1])
    chosen = sorted({g.axis(x, False) for _ in range(g.integer(1, 3))}) if x.rank else []
    if g.chance(0.3):
        chosen = [a - x.rank for a in chosen]
    if g.chance(0.2):
        chosen = None
    attributes = {"keepdims": keepdims} if g.chance(0.8) else {}
    as_input = g.opset >= 18 or op == "ReduceSum" and g.opset >= 13
    if as_input and chosen is not None and g.chance(0.1) and not chosen:
        attributes["noop_with_empty_axes"] = 1
    if chosen and not as_input:
        attributes["axes"] = chosen
    g.node(op, [x, g.const(whole(chosen))] if chosen and as_input else [x], **attributes)


@operator(1.5)
def arg_extreme(g):
    x = g.pick((f32, i32, i64), range(1, 6))
    axis = g.axis(x)
    if not g.apart(x, axis):
        raise Skip
    attributes = {"keepdims": g.one([0, 1])}
    if g.opset >= 12 and g.chance(0.3):
        attributes["select_last_index"] = 1
    g.node(g.one(["ArgMax", "ArgMin"]), [x], axis=axis, **attributes)


@operator(1.5)
def topk(g):
    x = g.pick((f32, i32, i64), range(1, 6))
    axis = g.axis(x)
    if not g.apart(x, axis):
        raise Skip
    k = g.integer(1, x.shape[axis])
    attributes = {"axis": axis}
    if g.opset >= 11:
        attributes.update(largest=g.one([0, 1]))
    g.node("TopK", [x, g.const(whole([k]))] if g.opset >= 10 else [x], 2, **(attributes if g.opset >= 10 else dict(attributes, k=k)))


@operator(1)
def cumulative(g):
    if g.opset < 11:
        raise Skip
    x = g.pick((f32, i32, i64), range(1, 5))
    g.node("CumSum", [x, g.const(numpy.array(g.axis(x), g.one([i32, i64])))], exclusive=g.one([0, 1]), reverse=g.one([0, 1]))


@operator(2)
def softmax(g):
    x = g.pick(FLOATS, range(1, 5))
    op = g.one(["Softmax", "Softmax", "LogSoftmax", "Hardmax"])
    axis = g.axis(x, g.opset >= 11)
    if op == "Hardmax" and not g.apart(x):
        raise Skip
    g.node(op, [x], **({"axis": axis} if g.chance(0.8) else {}))


@operator(0.7)
def non_zero(g):
    x = g.pick((boolean, i32, i64), range(1, 4))
    g.node("Transpose", [g.node("NonZero", [x])]) if g.chance(0.5) else g.node("NonZero", [x])


@operator(0.4)
def unique(g):
    x = g.pick((i64, i32), range(1, 4))
    if g.opset < 11:
        raise Skip
    g.node("Unique", [x], 4, sorted=1)


@operator(0.5)
def compress(g):
    x = g.pick(ANY, range(1, 5))
    axis = g.axis(x, g.opset >= 11)
    g.node("Compress", [x, g.const(g.data(boolean, (x.shape[axis],)))], axis=axis)


# Shapes.
@operator(4)
def reshape(g):
    x = g.pick(ANY)
    sizes = [s for s in x.shape]
    if len(sizes) > 1 and g.chance(0.6):
        i = g.integer(0, len(sizes) - 2)
        sizes[i:i + 2] = [sizes[i] * sizes[i + 1]]
    elif sizes and g.chance(0.7):
        i = g.integer(0, len(sizes) - 1)
        divisors = [d for d in range(1, sizes[i] + 1) if sizes[i] % d == 0]
        d = g.one(divisors)
        sizes[i:i + 1] = [d, sizes[i] // d]
    else:
        sizes = [x.array.size]
    if len(sizes) > 5:
        raise Skip
    if g.chance(0.5) and sizes:
        sizes[g.integer(0, len(sizes) - 1)] = -1
    if g.chance(0.3):
        sizes = [0 if i < x.rank and s == x.shape[i] else s for i, s in enumerate(sizes)]
    g.node("Reshape", [x, g.const(whole(sizes))])


@operator(2)
def reshape_computed(g):
    """Sizes taken from a shape, as exporters write them."""
    x = g.pick(ANY, range(1, 5))
    shape = g.node("Shape", [x], keep=g.chance(0.3))
    i = g.axis(x, False)
    if g.chance(0.5):
        size = g.node("Gather", [shape, g.const(whole([i]))], keep=False)
    else:
        one = g.node("Gather", [shape, g.const(numpy.array(i, i64))], keep=False)
        size = unsqueeze_node(g, one, [0])
    parts = [size, g.const(whole([-1]))] if i == 0 or g.chance(0.5) else [g.const(whole([-1])), size]
    g.node("Reshape", [x, g.node("Concat", parts, axis=0, keep=False)])


@operator(1.5)
def expand_to_shape(g):
    x = g.pick(ANY, range(0, 4))
    others = [v for v in g.values if v.rank >= x.rank and v.array.size <= 512 and v.rank > 0]
    if not others:
        raise Skip
    g.node("Expand", [x, g.node("Shape", [g.one(others)], keep=False)])


@operator(0.7)
def filled(g):
    x = g.pick(ANY, range(1, 4))
    from onnx import numpy_helper
    shape = g.node("Shape", [x], keep=False)
    dtype = g.one([f32, i64, i32, boolean])
    g.node("ConstantOfShape", [shape], value=numpy_helper.from_array(numpy.array([g.one([0, 1, 3])], dtype)))


@operator(0.7)
def ranged(g):
    if g.opset < 11:
        raise Skip
    x = g.pick(ANY, range(1, 5))
    shape = g.node("Shape", [x], keep=False)
    limit = g.node("Gather", [shape, g.const(numpy.array(g.axis(x), i64))], keep=False)
    g.node("Range", [g.const(numpy.array(0, i64)), limit, g.const(numpy.array(1, i64))])


@operator(1)
def shape_of(g):
    x = g.pick(ANY)
    attributes = {}
    if g.opset >= 15 and x.rank and g.chance(0.5):
        attributes = {"start": g.integer(-x.rank, x.rank - 1)}
        if g.chance(0.5):
            attributes["end"] = g.integer(-x.rank, x.rank)
    g.node(*g.one([("Shape", [x]), ("Size", [x])][:1 if attributes else 2]), **attributes)


@operator(1)
def flatten(g):
    x = g.pick((f32, f16, i32, boolean), range(1, 6))
    g.node("Flatten", [x], axis=g.integer(-x.rank if g.opset >= 11 else 0, x.rank))


@operator(3)
def transpose(g):
    x = g.pick(ANY, range(2, 6))
    g.node("Transpose", [x], **({"perm": [int(p) for p in g.rng.permutation(x.rank)]} if g.chance(0.85) else {}))


def unsqueeze_node(g, x, axes, keep=False):
    if g.opset >= 13:
        return g.node("Unsqueeze", [x, g.const(whole(axes))], keep=keep)
    return g.node("Unsqueeze", [x], axes=axes, keep=keep)


@operator(1.5)
def unsqueeze(g):
    x = g.pick(ANY, range(0, 5))
    count = g.integer(1, min(2, 5 - x.rank))
    axes = sorted(int(a) for a in g.rng.choice(x.rank + count, count, replace=False))
    if g.opset >= 11 and g.chance(0.3):
        axes = [a - x.rank - count for a in axes]
    unsqueeze_node(g, x, axes, True)


@operator(1.5)
def squeeze(g):
    x = g.pick(ANY, range(1, 6), lambda v: 1 in v.shape)
    axes = [i for i, s in enumerate(x.shape) if s == 1]
    if g.chance(0.5):
        axes = [g.one(axes)]
    if g.opset >= 11 and g.chance(0.3):
        axes = [a - x.rank for a in axes]
    if g.chance(0.15) and not g.dynamic:
        g.node("Squeeze", [x])
    elif g.opset >= 13:
        g.node("Squeeze", [x, g.const(whole(axes))])
    else:
        g.node("Squeeze", [x], axes=axes)


@operator(4)
def slicing(g):
    x = g.pick(ANY, range(1, 6))
    axes = sorted({g.axis(x, False) for _ in range(g.integer(1, 2))})
    starts, ends, steps = [], [], []
    for a in axes:
        size = x.shape[a]
        if g.opset >= 10 and g.chance(0.3):
            starts.append(g.one([size - 1, -1, size + 3]))
            ends.append(g.one([-size - 1, -1000, 0 if size > 1 else -size - 1]))
            steps.append(-g.integer(1, 3))
        else:
            start = g.integer(0, size - 1)
            end = g.integer(start + 1, size + 2)
            starts.append(start - size if g.chance(0.3) else start)
            ends.append(g.one([end, (1 << 31) - 1, (1 << 63) - 1]) if end >= size else end - size if g.chance(0.3) else end)
            steps.append(g.integer(1, 3) if g.opset >= 10 and g.chance(0.4) else 1)
    if g.opset < 10:
        g.node("Slice", [x], starts=starts, ends=ends, axes=axes)
        return
    named = [a - x.rank for a in axes] if g.chance(0.3) else axes
    dtype = g.one([i32, i64]) if max(ends) < 1 << 31 else i64
    tail = [g.const(whole(named, dtype))] + ([g.const(whole(steps, dtype))] if g.chance(0.5) or any(s != 1 for s in steps) else [])
    g.node("Slice", [x, g.const(whole(starts, dtype)), g.const(whole(ends, dtype))] + tail)


@operator(3)
def concat(g):
    x = g.pick(ANY, range(1, 6))
    axis = g.axis(x)
    parts = [x]
    for _ in range(g.integer(1, 2)):
        fitting = [v for v in g.values if v.dtype == x.dtype and v.rank == x.rank and v.array.size
                   and all(a == b for i, (a, b) in enumerate(zip(v.shape, x.shape)) if i != axis % x.rank)]
        shape = list(x.shape)
        shape[axis] = g.integer(1, 3)
        parts.append(g.one(fitting) if fitting and g.chance(0.6) else g.const(g.data(x.dtype, shape)))
    order = g.rng.permutation(len(parts))
    g.node("Concat", [parts[i] for i in order], axis=axis)


@operator(2)
def split(g):
    x = g.pick(ANY, range(1, 6), lambda v: max(v.shape, default=0) > 1)
    axis = g.axis(x, g.opset >= 11)
    size = x.shape[axis]
    if size < 2:
        raise Skip
    first = g.integer(1, size - 1)
    parts = [first, size - first]
    if g.opset >= 18 and g.chance(0.4):
        count = g.integer(2, min(3, size))
        if -(-size // count) * (count - 1) >= size:
            raise Skip
        g.node("Split", [x], count, axis=axis, num_outputs=count)
    elif g.opset >= 13:
        g.node("Split", [x, g.const(whole(parts))], 2, axis=axis)
    else:
        g.node("Split", [x], 2, axis=axis, split=parts)


@operator(1)
def tile(g):
    x = g.pick(ANY, range(1, 5))
    g.node("Tile", [x, g.const(whole([g.one([1, 1, 2, 3]) for _ in x.shape]))])


@operator(1)
def expand(g):
    x = g.pick(ANY, range(0, 5))
    sizes = [g.one([2, 3]) if s == 1 and g.chance(0.7) else g.one([1, s]) for s in x.shape]
    if g.chance(0.4) and x.rank < 4:
        sizes = [g.integer(1, 3)] + sizes
    g.node("Expand", [x, g.const(whole(sizes))])


@operator(2)
def pad(g):
    x = g.pick((f32, f32, f16, i32, i64) if g.opset >= 11 else (f32,), range(1, 5))
    mode = g.one(["constant", "constant", "constant", "reflect", "edge"] + (["wrap"] if g.opset >= 19 else []))
    pads = [g.one([0, 0, 1, 2]) for _ in range(2 * x.rank)]
    if mode == "constant" and g.chance(0.25):
        pads = [-1 if p == 1 and x.shape[i % x.rank] > 3 else p for i, p in enumerate(pads)]
    if mode in ("reflect", "wrap"):
        pads = [min(p, x.shape[i % x.rank] - 1) for i, p in enumerate(pads)]
    if g.opset < 11:
        g.node("Pad", [x], mode=mode, pads=pads, **({"value": 1.5} if g.chance(0.5) and mode == "constant" else {}))
        return
    inputs = [x, g.const(whole(pads))]
    if mode == "constant" and g.chance(0.6):
        inputs.append(g.const(numpy.array(g.one([0, 1, -2]), x.dtype)))
    if g.opset >= 18 and g.chance(0.3):
        a = g.axis(x)
        inputs = [x, g.const(whole([pads[a % x.rank], pads[a % x.rank + x.rank]])), inputs[2] if len(inputs) > 2 else None, g.const(whole([a]))]
    g.node("Pad", inputs, mode=mode)


@operator(0.5)
def trilu(g):
    x = g.pick((f32, i64, boolean), range(2, 5))
    if g.opset < 14:
        raise Skip
    g.node("Trilu", [x] + ([g.const(numpy.array(g.integer(-3, 3), i64))] if g.chance(0.7) else []), upper=g.one([0, 1]))


@operator(0.7)
def depth_and_space(g):
    x = g.pick((f32,), [4])
    if x.shape[1] % 4 == 0:
        g.node("DepthToSpace", [x], blocksize=2, **({"mode": g.one(["DCR", "CRD"])} if g.opset >= 11 else {}))
    elif x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0:
        g.node("SpaceToDepth", [x], blocksize=2)
    else:
        raise Skip


@operator(0.3)
def reverse_sequence(g):
    if g.opset < 10:
        raise Skip
    x = g.pick((f32, i64), range(2, 5))
    batch = g.one([0, 1])
    g.node("ReverseSequence", [x, g.const(g.rng.integers(1, x.shape[1 - batch] + 1, x.shape[batch]).astype(i64))], batch_axis=batch, time_axis=1 - batch)


@operator(0.3)
def eye_like(g):
    x = g.pick((f32, i32), [2])
    g.node("EyeLike", [x], k=g.integer(-2, 2), **({"dtype": element_type(g.one([f32, i64]))} if g.chance(0.5) else {}))


@operator(0.4)
def center_crop_pad(g):
    if g.opset < 18:
        raise Skip
    x = g.pick((f32, i64), range(1, 5))
    g.node("CenterCropPad", [x, g.const(whole([g.integer(1, 8)]))], axes=[g.axis(x)])


# Gather and scatter.
def indices(g, limit, shape, dtype=None, negative=True):
    chosen = g.rng.integers(-limit if negative and g.chance(0.4) else 0, limit, shape)
    dtype = dtype or g.one([i32, i64])
    if g.chance(0.25) and len(g.inputs) < 7:
        value = g.new_input(dtype, shape)
        value.array = chosen.astype(dtype)
        return value
    return g.const(chosen.astype(dtype))


@operator(3)
def gather(g):
    x = g.pick(ANY, range(1, 5))
    axis = g.axis(x)
    shape = g.one([(), (2,), (3,), (2, 2), (1,)])
    g.node("Gather", [x, indices(g, x.shape[axis], shape, negative=g.opset >= 11)], axis=axis)


@operator(1)
def gather_elements(g):
    if g.opset < 11:
        raise Skip
    x = g.pick(ANY, range(1, 5))
    axis = g.axis(x)
    shape = [g.integer(1, s) for s in x.shape]
    shape[axis] = g.integer(1, 4)
    g.node("GatherElements", [x, indices(g, x.shape[axis], tuple(shape))], axis=axis)


@operator(1)
def gather_nd(g):
    if g.opset < 12:
        raise Skip
    x = g.pick(ANY, range(1, 5))
    batch = g.one([0, 0, 1]) if x.rank > 1 else 0
    depth = g.integer(1, x.rank - batch)
    head = x.shape[:batch] + g.one([(2,), (3,), (2, 2)])
    index = numpy.stack([g.rng.integers(-x.shape[batch + i] if g.chance(0.3) else 0, x.shape[batch + i], head) for i in range(depth)], -1).astype(i64)
    g.node("GatherND", [x, g.const(index)], **({"batch_dims": batch} if batch else {}))


@operator(1.2)
def scatter_elements(g):
    if g.opset < 11:
        raise Skip
    x = g.pick((f32, f32, i32, i64), range(1, 4))
    axis = g.axis(x)
    shape = list(g.integer(1, s) for s in x.shape)
    # One row of targets, each once along the axis, so that order does not matter.
    count = shape[axis] = g.integer(1, x.shape[axis])
    target = numpy.argsort(g.rng.random(tuple(shape[:axis % x.rank]) + (x.shape[axis],) + tuple(shape[axis % x.rank + 1:])), axis=axis % x.rank)
    target = numpy.take(target, range(count), axis=axis % x.rank).astype(i64)
    if g.chance(0.3):
        target = target - x.shape[axis]
    reductions = ["none"] if g.opset < 16 else ["none", "add", "mul"] if g.opset < 18 else ["none", "add", "mul", "max", "min"]
    reduction = g.one(reductions)
    g.node("ScatterElements", [x, g.const(target), g.const(g.data(x.dtype, shape))], axis=axis, exact=x.exact and reduction in ("none", "max", "min"),
           **({"reduction": reduction} if g.opset >= 16 else {}))


@operator(1.2)
def scatter_nd(g):
    if g.opset < 11:
        raise Skip
    x = g.pick((f32, f32, i32, i64), range(1, 4))
    depth = g.integer(1, x.rank)
    places = int(numpy.prod(x.shape[:depth]))
    count = g.integer(1, min(3, places))
    flat = g.rng.choice(places, count, replace=False)
    index = numpy.stack(numpy.unravel_index(flat, x.shape[:depth]), -1).astype(i64)
    if g.chance(0.3):
        index = index - numpy.array(x.shape[:depth])
    reductions = ["none"] if g.opset < 16 else ["none", "add", "mul"] if g.opset < 18 else ["none", "add", "mul", "max", "min"]
    reduction = g.one(reductions)
    g.node("ScatterND", [x, g.const(index), g.const(g.data(x.dtype, (count,) + x.shape[depth:]))], exact=x.exact and reduction in ("none", "max", "min"),
           **({"reduction": reduction} if g.opset >= 16 else {}))


@operator(0.5)
def one_hot(g):
    x = g.pick((i64, i32), range(0, 3))
    depth = g.integer(2, 5)
    if numpy.any(x.array >= depth) or numpy.any(x.array < -depth):
        raise Skip
    values = g.one([whole([0, 1], f32), whole([0, 1]), numpy.array([-1.0, 2.5], f32)])
    g.node("OneHot", [x, g.const(numpy.array(depth, i64)), g.const(values)], axis=g.one([-1, 0]))
