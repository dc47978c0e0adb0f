"""Layers of networks for random graphs (graph.py): products, windows, norms, resizing, quantisation, control flow. Importing this adds them."""
import numpy
from onnx import helper

from graph import FLOATS, Skip, boolean, f16, f32, i8, i32, i64, info, u8
from random_operators import operator, whole


@operator(3)
def matmul(g):
    x = g.pick(FLOATS, range(1, 5))
    k = x.shape[-1]
    fitting = [v for v in g.values if v.dtype == x.dtype and v.rank > 0 and v.array.size and (v.shape[-2] if v.rank > 1 else v.shape[0]) == k]
    shape = g.one([(k, 3), (k, 5), (k,), x.shape[:-2] + (k, 2), (2, k, 3) if x.rank < 3 else (1,) * (x.rank - 2) + (k, 4)])
    y = g.one(fitting) if fitting and g.chance(0.4) else g.const(g.data(x.dtype, shape))
    g.node("MatMul", [x, y])


@operator(1.5)
def gemm(g):
    x = g.pick((f32,), [2])
    ta, tb = g.one([0, 0, 1]), g.one([0, 1])
    m, k = x.shape[::-1] if ta else x.shape
    n = g.integer(1, 5)
    attributes = {}
    if g.chance(0.4):
        attributes.update(alpha=g.one([0.5, 2.0]), beta=g.one([0.25, 1.0, 0.0]))
    c = g.one([(), (n,), (1, n), (m, 1), (m, n)])
    inputs = [x, g.const(g.data(f32, (n, k) if tb else (k, n)))]
    if g.opset < 11 or g.chance(0.8):
        inputs.append(g.const(g.data(f32, c)))
    g.node("Gemm", inputs, transA=ta, transB=tb, **attributes)


@operator(0.8)
def einsum(g):
    if g.opset < 12:
        raise Skip
    x = g.pick((f32,), [2, 3])
    if x.rank == 2:
        a, b = x.shape
        equation, other = g.one([("ij,jk->ik", (b, 3)), ("ij,kj->ki", (3, b)), ("ij->ji", None), ("ij->i", None), ("ij,ij->ij", (a, b)), ("ij,j->i", (b,)), ("ij,ij", (a, b))])
    else:
        a, b, c = x.shape
        equation, other = g.one([("bij,bjk->bik", (a, c, 2)), ("bij,bkj->bki", (a, 2, c)), ("bij->bji", None), ("bij->j", None), ("...ij,jk->...ik", (c, 2)), ("bij,i->bj", (b,))])
    g.node("Einsum", [x] + ([g.const(g.data(f32, other))] if other is not None else []), equation=equation)


def spatial(g, x, kernel_of):
    """Kernel, strides, pads, dilations that suit x."""
    dims = x.rank - 2
    kernel = [g.integer(1, min(3, s)) for s in x.shape[2:]]
    attributes = {}
    if g.chance(0.5):
        attributes["strides"] = [g.integer(1, 2) for _ in range(dims)]
    if g.chance(0.3) and kernel_of != "pool9":
        attributes["dilations"] = [g.integer(1, 2) for _ in range(dims)]
    pick = g.one(["none", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if pick == "pads":
        attributes["pads"] = [g.integer(0, k - 1) if k > 1 else 0 for k in kernel + kernel]
    elif pick != "none":
        attributes["auto_pad"] = pick
        # ONNX Runtime pads for the kernel as it is without dilations, so that results are smaller than the standard says.
        if pick.startswith("SAME"):
            attributes.pop("dilations", None)
    # Of windows that do not fit ONNX Runtime makes one.
    pads = attributes.get("pads", [0] * 2 * dims)
    reach = [d * (k - 1) + 1 for d, k in zip(attributes.get("dilations", [1] * dims), kernel)]
    if any(r > s + p + q for r, s, p, q in zip(reach, x.shape[2:], pads, pads[dims:])):
        raise Skip
    return kernel, attributes


@operator(3)
def conv(g):
    x = g.pick((f32, f32, f32, f16), [3, 4, 4, 5])
    channels = x.shape[1]
    group = g.one([d for d in range(1, channels + 1) if channels % d == 0] if g.chance(0.4) else [1])
    outputs = group * g.integer(1, 3)
    kernel, attributes = spatial(g, x, "conv")
    inputs = [x, g.const(g.data(x.dtype, (outputs, channels // group, *kernel)))]
    if g.chance(0.6):
        inputs.append(g.const(g.data(x.dtype, (outputs,))))
    if g.chance(0.5):
        attributes["kernel_shape"] = kernel
    g.node("Conv", inputs, group=group, **attributes)


@operator(1.5)
def conv_transpose(g):
    x = g.pick((f32,), [3, 4, 4])
    channels = x.shape[1]
    group = g.one([d for d in range(1, channels + 1) if channels % d == 0] if g.chance(0.3) else [1])
    kernel, attributes = spatial(g, x, "conv")
    # The standard says size times stride; ONNX Runtime stops at the last element that a kernel shorter than a stride reaches.
    if "SAME" in attributes.get("auto_pad", "") and any(k < s for k, s in zip(kernel, attributes.get("strides", []))):
        raise Skip
    strides = attributes.get("strides", [1] * len(kernel))
    if g.chance(0.3):
        attributes["output_padding"] = [s - 1 for s in strides]
    inputs = [x, g.const(g.data(f32, (channels, g.integer(1, 3), *kernel)))]
    if g.chance(0.5):
        inputs.append(g.const(g.data(f32, (inputs[1].shape[1] * group,))))
    g.node("ConvTranspose", inputs, group=group, **attributes)


@operator(2.5)
def pool(g):
    x = g.pick((f32, f32, f16), [3, 4, 4, 5])
    op = g.one(["MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool"])
    kernel, attributes = spatial(g, x, "pool9" if op == "LpPool" and g.opset < 18 or op == "AveragePool" and g.opset < 19 or g.opset < 10 else "pool")
    if op == "AveragePool" and g.chance(0.5):
        attributes["count_include_pad"] = 1
    if g.opset >= (18 if op == "LpPool" else 10) and g.chance(0.4) and "auto_pad" not in attributes:
        attributes["ceil_mode"] = 1
    if op == "LpPool":
        attributes["p"] = g.one([1, 2])
    outputs = 2 if op == "MaxPool" and x.exact and g.chance(0.15) else 1
    g.node(op, [x], outputs, kernel_shape=kernel, **attributes)


@operator(0.8)
def global_pool(g):
    g.node(g.one(["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]), [g.pick((f32,), [3, 4, 5])])


@operator(1.5)
def batch_norm(g):
    x = g.pick((f32, f32, f16), [2, 3, 4, 5])
    c = x.shape[1]
    scale = [g.data(x.dtype, (c,)) for _ in range(3)] + [(numpy.abs(g.data(x.dtype, (c,))) + x.dtype.type(0.5))]
    g.node("BatchNormalization", [x] + [g.const(s) for s in scale], **({"epsilon": g.one([1e-3, 0.1])} if g.chance(0.5) else {}))


@operator(2)
def norm(g):
    x = g.pick((f32,), [3, 4, 5])
    c = x.shape[1]
    op = g.one(["InstanceNormalization", "LayerNormalization", "LayerNormalization", "GroupNormalization", "LpNormalization", "LRN", "MeanVarianceNormalization",
                "RMSNormalization"])
    # Of elements that are all alike nothing but rounding is left.
    if numpy.any(x.array.std(axis=tuple(range(2, x.rank))) < 0.2) or x.shape[-1] < 2 or numpy.any(x.array.std(axis=-1) < 0.05):
        raise Skip
    epsilon = {"epsilon": g.one([1e-3, 1e-2])} if g.chance(0.5) else {}
    if op == "InstanceNormalization":
        g.node(op, [x, g.const(g.data(f32, (c,))), g.const(g.data(f32, (c,)))], **epsilon)
    elif op in ("LayerNormalization", "RMSNormalization"):
        if g.opset < (17 if op[0] == "L" else 23):
            raise Skip
        axis = g.integer(1, x.rank - 1)
        shape = x.shape[axis:]
        inputs = [x, g.const(g.data(f32, shape))] + ([g.const(g.data(f32, shape))] if op[0] == "L" and g.chance(0.6) else [])
        g.node(op, inputs, axis=axis - x.rank if g.chance(0.4) else axis, **epsilon)
    elif op == "GroupNormalization":
        if g.opset < 21:
            raise Skip
        groups = g.one([d for d in range(1, c + 1) if c % d == 0])
        g.node(op, [x, g.const(g.data(f32, (c,))), g.const(g.data(f32, (c,)))], num_groups=groups, **epsilon)
    elif op == "LpNormalization":
        axis = g.axis(x)
        if numpy.any(numpy.abs(x.array).max(axis=axis) < 1e-3):
            raise Skip
        g.node(op, [x], axis=axis, p=g.one([1, 2]))
    elif op == "LRN":
        g.node(op, [x], size=g.one([1, 3, 5]), alpha=0.1, beta=g.one([0.5, 0.75]), bias=g.one([1.0, 2.0]))
    else:
        axes = [a for a in range(x.rank) if a != 1]
        g.node(op, [x], **({"axes": axes} if x.rank != 4 or g.chance(0.5) else {}))


@operator(2.5)
def resize(g):
    if g.opset < 11:
        raise Skip
    x = g.pick((f32,), [3, 4, 4, 5])
    mode = g.one(["nearest", "nearest", "linear", "linear", "cubic"])
    ways = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"] + (["half_pixel_symmetric"] if g.opset >= 19 else [])
    attributes = {"mode": mode, "coordinate_transformation_mode": g.one(ways)}
    if mode == "cubic":
        attributes["cubic_coeff_a"] = g.one([-0.75, -0.5])
        if g.chance(0.3):
            attributes["exclude_outside"] = 1
    if mode == "nearest":
        attributes["nearest_mode"] = g.one(["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"])
    if g.opset >= 18 and g.chance(0.2) and mode != "nearest":
        attributes["antialias"] = 1
    dims = x.rank - 2
    if mode == "cubic" and dims != 2:
        raise Skip
    if g.chance(0.5):
        factors = [g.one([0.5, 1.0, 1.5, 2.0, 3.0]) for _ in range(dims)]
        if any(int(s * f) < 1 for s, f in zip(x.shape[2:], factors)):
            raise Skip
        # ONNX takes the length before it is cut to a whole number (test_resize_downsample_scales_linear_align_corners), ONNX Runtime behind.
        if attributes["coordinate_transformation_mode"] == "align_corners" and any(s * f != int(s * f) for s, f in zip(x.shape[2:], factors)):
            raise Skip
        tail = [g.const(numpy.array([1, 1] + factors, f32))]
    else:
        tail = [g.const(numpy.array([], f32)) if g.opset < 13 else None, g.const(whole(list(x.shape[:2]) + [g.integer(1, 2 * s) for s in x.shape[2:]]))]
    roi = g.const(numpy.array([], f32)) if g.opset < 13 else None
    g.node("Resize", [x, roi] + tail, **attributes)


@operator(0.4)
def upsample(g):
    if g.opset != 9:
        raise Skip
    x = g.pick((f32,), [4])
    g.node("Upsample", [x, g.const(numpy.array([1, 1, 2, g.one([2, 3])], f32))], mode=g.one(["nearest", "linear"]))


@operator(0.6)
def grid_sample(g):
    if g.opset < 16:
        raise Skip
    x = g.pick((f32,), [4])
    grid = (g.rng.uniform(-1.3, 1.3, (x.shape[0], 3, 2, 2))).astype(f32)
    mode = g.one(["nearest", "bilinear", "bicubic"]) if g.opset < 20 else g.one(["nearest", "linear", "cubic"])
    g.node("GridSample", [x, g.const(grid)], mode=mode, padding_mode=g.one(["zeros", "border", "reflection"]), align_corners=g.one([0, 1]))


# Quantisation.
def scale_and_zero(g, count, dtype):
    shape = () if count is None else (count,)
    scale = g.rng.choice([0.0625, 0.125, 0.05, 0.03], shape).astype(f32)
    zero = g.rng.integers(-20 if dtype == i8 else 100, 20 if dtype == i8 else 140, shape).astype(dtype)
    return numpy.asarray(scale), numpy.asarray(zero)


@operator(2)
def quantise_and_back(g):
    x = g.pick((f32,), range(1, 5))
    if g.opset < 10:
        raise Skip
    dtype = g.one([u8, i8])
    axis = g.axis(x) if g.opset >= 13 and g.chance(0.4) else None
    scale, zero = scale_and_zero(g, None if axis is None else x.shape[axis], dtype)
    across = scale if axis is None else scale.reshape([-1 if i == axis % x.rank else 1 for i in range(x.rank)])
    ratio = x.array.astype(numpy.float64) / across
    if numpy.any(numpy.abs(ratio - numpy.floor(ratio) - 0.5) < (0.1 if x.coarse else 0.02)):
        raise Skip
    attributes = {} if axis is None else {"axis": axis}
    ends = [g.const(scale), g.const(zero)]
    q = g.node("QuantizeLinear", [x] + (ends if dtype == i8 or g.chance(0.8) else ends[:1]), **attributes, keep=g.chance(0.3))
    g.node("DequantizeLinear", [q] + (ends if dtype == i8 or g.chance(0.8) else ends[:1]), exact=False, **attributes)


@operator(0.8)
def dequantised_weight(g):
    if g.opset < 13:
        raise Skip
    x = g.pick((f32,), [2, 3])
    k = x.shape[-1]
    dtype = g.one([i8, u8])
    per_axis = g.chance(0.5)
    scale, zero = scale_and_zero(g, 4 if per_axis else None, dtype)
    w = g.const(g.rng.integers(*((-128, 128) if dtype == i8 else (0, 256)), (k, 4)).astype(dtype), False)
    y = g.node("DequantizeLinear", [w, g.const(scale, False), g.const(zero, False)], keep=False, exact=False, **({"axis": 1} if per_axis else {}))
    g.node("MatMul", [x, y])


@operator(0.5)
def integer_product(g):
    if g.opset < 10:
        raise Skip
    x = g.pick((u8,), [2, 3])
    w = g.const(g.rng.integers(-128, 128, (x.shape[-1], 3)).astype(i8))
    g.node("MatMulInteger", [x, w] + ([g.const(numpy.array(g.integer(0, 200), u8))] if g.chance(0.6) else []))


@operator(0.4)
def dynamic_quantise(g):
    if g.opset < 11:
        raise Skip
    x = g.pick((f32,), range(1, 4), lambda v: v.exact)
    low, high = min(0.0, float(x.array.min())), max(0.0, float(x.array.max()))
    if high - low < 0.5:
        raise Skip
    ratio = x.array.astype(numpy.float64) / ((high - low) / 255)
    if numpy.any(numpy.abs(ratio - numpy.floor(ratio) - 0.5) < 0.02) or abs(-low / ((high - low) / 255) % 1 - 0.5) < 0.02:
        raise Skip
    g.node("DynamicQuantizeLinear", [x], 3)


# Control flow: bodies are straight lines of elementwise nodes on what is around them.
def line(g, x, name, nodes, constants):
    for _ in range(g.integer(1, 3)):
        after = g.name()
        if g.chance(0.5):
            nodes.append(helper.make_node(g.one(["Tanh", "Sigmoid", "Relu", "Neg"]), [name], [after]))
        else:
            constant = g.const(g.data(f32, x.shape[-1:] if g.chance(0.5) else ()))
            constants.append(constant)
            nodes.append(helper.make_node(g.one(["Add", "Mul", "Sub"]), [name, constant.name], [after]))
        name = after
    return name


@operator(0.7)
def branch(g):
    if g.opset < 11:
        raise Skip
    x = g.pick((f32,), range(0, 4))
    truth = g.data(boolean, ())
    condition = g.const(truth) if g.chance(0.3) or len(g.inputs) > 5 else g.new_input(boolean, ())
    bodies, constants = {}, [x]
    for side in ("then_branch", "else_branch"):
        nodes = []
        end = line(g, x, x.name, nodes, constants)
        bodies[side] = helper.make_graph(nodes, side, [], [info(end, x.array)])
    g.node("If", [condition], captured=constants, exact=False, **bodies)


@operator(0.6)
def loop(g):
    if g.opset < 11:
        raise Skip
    x = g.pick((f32,), range(0, 3))
    count = g.integer(0, 4) if not g.chance(0.5) else 3
    state, scanned = g.name("s"), g.chance(0.5)
    nodes, constants = [], []
    end = line(g, x, state, nodes, constants)
    counter, keep, going = g.name("i"), g.name("k"), g.name("b")
    nodes.append(helper.make_node("Identity", [keep], [going]))
    outputs = [helper.make_tensor_value_info(going, 9, []), info(end, x.array)]
    if scanned:
        seen = g.name()
        nodes.append(helper.make_node("Identity", [end], [seen]))
        outputs.append(info(seen, x.array))
        if count == 0:
            raise Skip
    body = helper.make_graph(nodes, "body", [helper.make_tensor_value_info(counter, 7, []), helper.make_tensor_value_info(keep, 9, []), info(state, x.array)], outputs)
    trips = g.const(numpy.array(count, i64)) if g.chance(0.6) else g.new_input(i64, ())
    if not trips.constant:
        trips.array = numpy.array(count, i64)
    g.node("Loop", [trips, None, x], 2 if scanned else 1, captured=constants, exact=False, body=body)


@operator(0.6)
def recurrent(g):
    x = g.pick((f32,), [3])
    op, gates = g.one([("LSTM", 4), ("GRU", 3), ("RNN", 1)])
    direction = g.one(["forward", "reverse", "bidirectional"])
    if g.opset >= 20 and op == "RNN":
        raise Skip
    d, hidden = 2 if direction == "bidirectional" else 1, 3
    inputs = [x, g.const(g.data(f32, (d, gates * hidden, x.shape[2])) * numpy.float32(0.3)), g.const(g.data(f32, (d, gates * hidden, hidden)) * numpy.float32(0.3))]
    if g.chance(0.6):
        inputs.append(g.const(g.data(f32, (d, 2 * gates * hidden)) * numpy.float32(0.3)))
    attributes = {"linear_before_reset": 1} if op == "GRU" and g.chance(0.5) else {}
    g.node(op, inputs, 3 if op == "LSTM" else 2, hidden_size=hidden, direction=direction, **attributes)


@operator(0.4)
def attention(g):
    if g.opset < 23:
        raise Skip
    q = g.pick((f32,), [4])
    b, h, s, e = q.shape
    inputs = [q, g.const(g.data(f32, (b, h, 4, e))), g.const(g.data(f32, (b, h, 4, 3)))]
    g.node("Attention", inputs, is_causal=g.one([0, 1]))
