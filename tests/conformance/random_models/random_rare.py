"""Operators that random graphs (graph.py) have less often: spectra, boxes, sequences, optionals, scans, losses, integer products, `com.microsoft`
and `ai.onnx.ml`. Importing this adds them.
"""
import numpy
from onnx import TensorProto, helper

from graph import FLOATS, Skip, boolean, f16, f32, i8, i32, i64, info, u8
from random_layers import line, scale_and_zero
from random_operators import operator, whole

MICROSOFT, ML = "com.microsoft", "ai.onnx.ml"


def since(g, opset):
    if g.opset < opset:
        raise Skip


@operator(0.8)
def questions(g):
    op = g.one(["IsInf", "IsNaN"])
    since(g, 10)
    x = g.pick((f32,))
    g.node(op, [x])


@operator(0.5)
def swish(g):
    since(g, 24)
    g.node("Swish", [g.pick((f32,))], **({"alpha": 0.5} if g.chance(0.5) else {}))


@operator(0.4)
def determinant(g):
    since(g, 11)
    n = g.integer(1, 4)
    shape = g.one([(n, n), (2, n, n), (2, 3, n, n)])
    x = g.new_input(f32, shape) if len(g.inputs) < 6 else g.const(g.data(f32, shape))
    g.node("Det", [x])


@operator(0.4)
def old_scatter(g):
    if not 9 <= g.opset < 11:
        raise Skip
    x = g.pick((f32,), [2])
    at = g.const(numpy.stack([g.rng.permutation(x.shape[0])[:1] for _ in range(x.shape[1])], 1).astype(i64))
    g.node("Scatter", [x, at, g.const(g.data(f32, at.shape))])


@operator(0.5)
def unpool(g):
    since(g, 11)
    x = g.pick((f32,), [4], lambda v: v.exact and min(v.shape[2:]) >= 2)
    kernel = [2, 2]
    y, at = g.node("MaxPool", [x], 2, kernel_shape=kernel, strides=kernel)
    flat = at.array.reshape(-1)
    if len(set(flat.tolist())) < len(flat):
        raise Skip
    g.node("MaxUnpool", [y, at], kernel_shape=kernel, strides=kernel, exact=False)


@operator(0.5)
def columns_to_image(g):
    since(g, 18)
    h, w = g.integer(3, 6), g.integer(3, 6)
    kh, kw = g.integer(1, 3), g.integer(1, 2)
    strides, pads, dilations = [g.integer(1, 2) for _ in range(2)], [g.integer(0, 1) for _ in range(4)], [1, g.integer(1, 2)]
    places = [(s + pads[i] + pads[i + 2] - dilations[i] * (k - 1) - 1) // strides[i] + 1 for i, (s, k) in enumerate([(h, kh), (w, kw)])]
    if min(places) < 1:
        raise Skip
    shape = (g.integer(1, 2), g.integer(1, 3) * kh * kw, places[0] * places[1])
    x = g.new_input(f32, shape) if len(g.inputs) < 6 else g.const(g.data(f32, shape))
    g.node("Col2Im", [x, g.const(whole([h, w])), g.const(whole([kh, kw]))], strides=strides, pads=pads, dilations=dilations)


@operator(0.5)
def regions(g):
    since(g, 16)
    x = g.pick((f32,), [4], lambda v: min(v.shape[2:]) >= 2)
    corners = g.rng.uniform(0, max(x.shape[2:]) - 1, (3, 2))
    boxes = numpy.concatenate([corners, corners + g.rng.uniform(0.5, 3, (3, 2))], 1).astype(f32)
    batch = g.rng.integers(0, x.shape[0], 3).astype(i64)
    g.node("RoiAlign", [x, g.const(boxes), g.const(batch)], mode=g.one(["avg", "max"]), output_height=g.integer(1, 3), output_width=g.integer(1, 3),
           sampling_ratio=g.integer(1, 2), spatial_scale=g.one([1.0, 0.5]), coordinate_transformation_mode=g.one(["half_pixel", "output_half_pixel"]))


@operator(0.4)
def suppression(g):
    since(g, 11)
    n = g.integer(2, 6)
    corners = g.rng.uniform(0, 4, (1, n, 2))
    boxes = numpy.concatenate([corners, corners + g.rng.uniform(1, 4, (1, n, 2))], 2).astype(f32)
    scores = (g.rng.permutation(2 * n).reshape(1, 2, n) / (2 * n)).astype(f32)
    inputs = [g.const(boxes), g.new_input(f32, scores.shape) if len(g.inputs) < 6 else g.const(scores), g.const(whole([g.integer(1, n)])), g.const(numpy.array([0.4], f32))]
    inputs[1].array = scores
    g.node("NonMaxSuppression", inputs + ([g.const(numpy.array([0.2], f32))] if g.chance(0.5) else []), center_point_box=g.one([0, 0, 1]))


@operator(0.5)
def rotary(g):
    since(g, 23)
    x = g.pick((f32,), [4], lambda v: v.shape[3] % 2 == 0)
    shape = (x.shape[0], x.shape[2], x.shape[3] // 2)
    g.node("RotaryEmbedding", [x, g.const(g.data(f32, shape)), g.const(g.data(f32, shape))], interleaved=g.one([0, 1]))


@operator(0.5)
def windows(g):
    since(g, 17)
    g.node(g.one(["HannWindow", "HammingWindow", "BlackmanWindow"]), [g.const(numpy.array(g.integer(2, 12), i64))], periodic=g.one([0, 1]))


@operator(0.6)
def fourier(g):
    since(g, 17)
    x = g.pick((f32,), [2, 3, 4], lambda v: min(v.shape) > 0)
    shape = x.shape + (1,)
    if len(shape) > 5:
        raise Skip
    y = g.node("Reshape", [x, g.const(whole(shape))], keep=False)
    axis = g.integer(1, len(shape) - 2)
    onesided = g.one([0, 1])
    inputs, attributes = [y], {"onesided": onesided}
    if g.chance(0.3):
        inputs.append(g.const(numpy.array(g.integer(1, x.shape[axis] + 2), i64)))
    if g.opset >= 20:
        inputs += [None] * (2 - len(inputs)) + [g.const(numpy.array(axis, i64))]
    else:
        attributes["axis"] = axis
    g.node("DFT", inputs, **attributes).coarse = True  # ONNX Runtime has five digits where the length is no power of two


@operator(0.4)
def short_fourier(g):
    since(g, 17)
    n, frame = g.integer(8, 20), g.integer(4, 7)
    x = g.new_input(f32, (g.integer(1, 2), n, 1)) if len(g.inputs) < 6 else g.const(g.data(f32, (1, n, 1)))
    window = g.const(g.rng.random(frame).astype(f32)) if g.chance(0.6) else None
    g.node("STFT", [x, g.const(numpy.array(g.integer(1, 4), i64)), window, g.const(numpy.array(frame, i64))], onesided=g.one([0, 1]))


@operator(0.3)
def mel(g):
    since(g, 17)
    g.node("MelWeightMatrix", [g.const(numpy.array(v, i64)) for v in (g.integer(3, 8), 32, 8000)] + [g.const(numpy.array(v, f32)) for v in (20.0, 3900.0)])


@operator(0.5)
def affine_grid(g):
    since(g, 20)
    size = (g.integer(1, 2), 2, g.integer(1, 4), g.integer(1, 4))
    theta = g.new_input(f32, (size[0], 2, 3)) if len(g.inputs) < 6 else g.const(g.data(f32, (size[0], 2, 3)))
    g.node("AffineGrid", [theta, g.const(whole(size))], align_corners=g.one([0, 1]))


@operator(0.7)
def losses(g):
    since(g, 13)
    x = g.pick((f32,), [2, 3, 4], lambda v: v.shape[1] > 1)
    labels = g.const(g.rng.integers(0, x.shape[1], x.shape[:1] + x.shape[2:]).astype(i64))
    inputs = [x, labels] + ([g.const((g.rng.random(x.shape[1]) + 0.5).astype(f32))] if g.chance(0.5) else [])
    attributes = {"reduction": g.one(["none", "sum", "mean"])}
    if g.chance(0.4):
        attributes["ignore_index"] = 0
        if attributes["reduction"] == "mean" and not numpy.any(labels.array):
            raise Skip
    op = g.one(["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
    if op == "SoftmaxCrossEntropyLoss":
        g.node(op, inputs, g.one([1, 2]), **attributes)
    else:
        g.node(op, inputs, **attributes)


# Sequences and optionals that are known when the graph is.
@operator(1)
def sequences(g):
    since(g, 11)
    x = g.pick((f32, i64), range(1, 5))
    parts = [x] + [g.partner(x) for _ in range(g.integer(0, 2))]
    if any(p.rank != x.rank or p.shape != x.shape for p in parts):
        parts = [p for p in parts if p.shape == x.shape]
    names = [g.name() for _ in range(4)]
    nodes = [helper.make_node("SequenceConstruct", [p.name for p in parts], [names[0]])]
    last = names[0]
    if g.chance(0.5):
        nodes.append(helper.make_node("SequenceInsert", [last, x.name], [names[1]]))
        last = names[1]
    if g.chance(0.4):
        at = g.const(numpy.array(-1, i64))
        parts_at = [at]
        nodes.append(helper.make_node("ConcatFromSequence", [last], [names[2]], axis=g.axis(x), **({"new_axis": 1} if g.chance(0.4) else {})))
    elif g.chance(0.5):
        at = g.const(numpy.array(g.one([0, -1]), i64))
        parts_at = [at]
        nodes.append(helper.make_node("SequenceAt", [last, at.name], [names[2]]))
    else:
        parts_at = []
        nodes.append(helper.make_node("SequenceLength", [last], [names[2]]))
    chain(g, nodes, parts + parts_at, names[2])


@operator(0.6)
def split_to_sequence(g):
    since(g, 11)
    x = g.pick((f32, i64), range(1, 5))
    axis = g.axis(x)
    names = [g.name() for _ in range(2)]
    inputs, attributes = [x], {"axis": axis}
    if g.chance(0.5):
        inputs.append(g.const(numpy.array(g.integer(1, 3), i64)))
    elif g.chance(0.5):
        attributes["keepdims"] = 0
    nodes = [helper.make_node("SplitToSequence", [v.name for v in inputs], names[:1], **attributes)]
    if g.chance(0.5):
        at = g.const(numpy.array(g.one([0, -1]), i64))
        nodes.append(helper.make_node("SequenceAt", [names[0], at.name], [names[1]]))
        inputs.append(at)
    else:
        nodes.append(helper.make_node("ConcatFromSequence", names[:1], names[1:], axis=0, new_axis=int(attributes.get("keepdims", 1) == 0)))
    chain(g, nodes, inputs, names[1])


@operator(0.4)
def optionals(g):
    since(g, 18)
    x = g.pick((f32, i64))
    names = [g.name() for _ in range(2)]
    nodes = [helper.make_node("Optional", [x.name], names[:1])]
    nodes.append(helper.make_node(g.one(["OptionalGetElement", "OptionalHasElement"]), names[:1], names[1:]))
    chain(g, nodes, [x], names[1])


def chain(g, nodes, given, result):
    """Nodes of which only the last has a tensor that others read."""
    from graph import Value, answers, numpy_helper
    import onnx
    given = {v.name: v for v in given}.values()
    graph = helper.make_graph(nodes, "g", [info(v.name, v.array) for v in given if not v.constant], [onnx.ValueInfoProto(name=result)],
                              [numpy_helper.from_array(v.array, v.name) for v in given if v.constant])
    try:
        made = answers(g.wrapped(graph), {v.name: v.array for v in given if not v.constant})[result]
    except Exception as error:
        raise Skip(str(error)) from error
    if not made.size or made.ndim > 5 or made.size > 4096:
        raise Skip
    coarse = any(v.coarse for v in given)
    g.nodes.extend(nodes)
    g.values.append(Value(result, made, made.dtype.kind in "iub" or all(v.exact for v in given), coarse))


@operator(0.6)
def scan(g):
    since(g, 9)
    x = g.pick((f32,), [2, 3])
    state, item, step = g.const(g.data(f32, x.shape[1:]), False), g.name("e"), g.name("s")
    nodes, constants = [], []
    added, seen = g.name(), g.name()
    nodes.append(helper.make_node("Add", [step, item], [added]))
    end = line(g, state, added, nodes, constants)
    nodes.append(helper.make_node("Identity", [end], [seen]))
    body = helper.make_graph(nodes, "body", [info(step, state.array), info(item, state.array)], [info(end, state.array), info(seen, state.array)])
    if any(c.rank > state.rank for c in constants):
        raise Skip
    attributes = {"scan_input_directions": [g.one([0, 1])], "scan_output_directions": [g.one([0, 1])]}
    g.node("Scan", [state, x], 2, captured=constants, exact=False, body=body, num_scan_inputs=1, **attributes)


# Integer products.
@operator(0.5)
def integer_convolution(g):
    since(g, 10)
    x = g.pick((u8,), [4], lambda v: min(v.shape[2:]) >= 2)
    w = g.const(g.rng.integers(0, 256, (3, x.shape[1], 2, 2)).astype(u8))
    inputs = [x, w] + ([g.const(numpy.array(g.integer(0, 200), u8)), g.const(numpy.array(g.integer(0, 200), u8))] if g.chance(0.6) else [])
    g.node("ConvInteger", inputs, **({"pads": [1, 0, 0, 1]} if g.chance(0.4) else {}))


@operator(0.5)
def quantised_products(g):
    since(g, 10)
    x = g.pick((u8,), [2, 3, 4], lambda v: v.rank < 4 or min(v.shape[2:]) >= 2)
    ends = [g.const(v) for v in scale_and_zero(g, None, u8)]
    w_ends = [g.const(v) for v in scale_and_zero(g, None, i8)]
    y_ends = [g.const(numpy.asarray(numpy.float32(3.7))), g.const(numpy.array(128, u8))]
    if x.rank < 4:
        w = g.const(g.rng.integers(-128, 128, (x.shape[-1], 3)).astype(i8))
        y = g.node("QLinearMatMul", [x, *ends, w, *w_ends, *y_ends], keep=False)
    else:
        w = g.const(g.rng.integers(-128, 128, (2, x.shape[1], 2, 2)).astype(i8))
        y = g.node("QLinearConv", [x, *ends, w, *w_ends, *y_ends], keep=False)
    # A tie that rounding decides moves by one; what follows is told in steps of sixteen.
    if numpy.any((y.array.astype(int) + 8) % 16 < 2) or numpy.any((y.array.astype(int) + 8) % 16 > 14):
        raise Skip
    coarse = g.const(numpy.array(16, f32))
    floating = g.node("Cast", [y], keep=False, to=TensorProto.FLOAT)
    scaled = g.node("Div", [floating, coarse], keep=False)
    g.node("Floor", [g.node("Add", [scaled, g.const(numpy.array(0.5, f32))], keep=False)], exact=True)


# Other domains.
@operator(1.2)
def microsoft(g):
    x = g.pick((f32,), [2, 3])
    n = x.shape[-1]
    row = lambda: g.const(g.data(f32, (n,)))  # noqa: E731
    op = g.one(["BiasGelu", "FastGelu", "QuickGelu", "Gelu", "FusedMatMul", "SkipLayerNormalization", "SimplifiedLayerNormalization",
                "SkipSimplifiedLayerNormalization", "Inverse"])
    if op == "BiasGelu":
        g.node(op, [x, row()], domain=MICROSOFT)
    elif op == "FastGelu":
        g.node(op, [x] + ([row()] if g.chance(0.5) else []), domain=MICROSOFT)
    elif op in ("QuickGelu", "Gelu"):
        g.node(op, [x], domain=MICROSOFT)
    elif op == "FusedMatMul":
        ta, tb = g.one([0, 1]), g.one([0, 1])
        k = x.shape[-2] if ta else n
        g.node(op, [x, g.const(g.data(f32, (4, k) if tb else (k, 4)))], transA=ta, transB=tb, alpha=0.5, domain=MICROSOFT)
    elif op == "SkipLayerNormalization":
        if x.rank != 3:
            raise Skip
        g.node(op, [x, g.const(g.data(f32, x.shape)), row(), row()] + ([row()] if g.chance(0.5) else []), domain=MICROSOFT, epsilon=1e-3)
    elif op == "SimplifiedLayerNormalization":
        g.node(op, [x, row()], epsilon=1e-3)
    elif op == "SkipSimplifiedLayerNormalization":
        if x.rank != 3:
            raise Skip
        g.node(op, [x, g.const(g.data(f32, x.shape)), row()], domain=MICROSOFT, epsilon=1e-3)
    else:
        k = g.integer(2, 3)
        matrix = (g.data(f32, (2, k, k)) * numpy.float32(0.2) + 2 * numpy.eye(k, dtype=f32)).astype(f32)
        g.node(op, [g.const(matrix)], domain=MICROSOFT)


@operator(0.8)
def learned(g):
    x = g.pick((f32,), [2])
    n = x.shape[1]
    numbers = lambda count: [float(v) for v in g.data(f32, (count,))]  # noqa: E731
    op = g.one(["Scaler", "Normalizer", "LinearRegressor", "Binarizer", "ArrayFeatureExtractor", "Imputer", "SVMRegressor", "TreeEnsembleRegressor"])
    if op == "Scaler":
        g.node(op, [x], domain=ML, offset=numbers(n), scale=numbers(n))
    elif op == "Normalizer":
        if not numpy.all(numpy.abs(x.array).max(axis=1) > 0.1):
            raise Skip
        g.node(op, [x], domain=ML, norm=g.one(["MAX", "L1", "L2"]))
    elif op == "LinearRegressor":
        targets = g.integer(1, 3)
        g.node(op, [x], domain=ML, coefficients=numbers(n * targets), intercepts=numbers(targets), targets=targets)
    elif op == "Binarizer":
        if not x.exact:
            raise Skip
        g.node(op, [x], domain=ML, threshold=0.25, exact=True)
    elif op == "ArrayFeatureExtractor":
        g.node(op, [x, g.const(g.rng.integers(0, n, (2,)).astype(i64))], domain=ML, exact=x.exact)
    elif op == "Imputer":
        if not x.exact:  # a sigmoid of -20 is 0 in ONNX Runtime
            raise Skip
        g.node(op, [x], domain=ML, imputed_value_floats=numbers(n), replaced_value_float=0.0)
    elif op == "SVMRegressor":
        vectors = g.integer(1, 3)
        g.node(op, [x], domain=ML, coefficients=numbers(vectors), rho=numbers(1), support_vectors=numbers(vectors * n), n_supports=vectors,
               kernel_params=[0.1, 0.5, 2.0], kernel_type=g.one(["RBF", "POLY", "SIGMOID", "LINEAR"]))
    else:
        if not x.exact:
            raise Skip
        g.node(op, [x], domain=ML, n_targets=1, nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[g.integer(0, n - 1), 0, 0],
               nodes_modes=[g.one(["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]), "LEAF", "LEAF"], nodes_values=[0.5, 0.0, 0.0], nodes_truenodeids=[1, 0, 0],
               nodes_falsenodeids=[2, 0, 0], target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=numbers(2))
