"""Operators of the domain com.microsoft, each in a model of one node: converted in fp32, run, and compared with ONNX Runtime; then once more with open
batches and lengths.

    contrib_test.py [OPERATOR ...]
"""
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

POMONA = os.environ["POMONA_BINARY"]
F, I64, I32, U8, I8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.INT8
rng = numpy.random.default_rng(0)


def real(*shape, scale=1.0):
    return (rng.normal(size=shape) * scale).astype(numpy.float32)


def u8(*shape):
    return rng.integers(0, 256, shape).astype(numpy.uint8)


def i8(*shape):
    return rng.integers(-127, 128, shape).astype(numpy.int8)


f32, i64, i32 = numpy.float32, numpy.int64, numpy.int32


class Case:
    """Inputs are given when the model runs; constants are initialisers. An order says which comes where."""

    def __init__(self, op, inputs, constants, order, outputs, dtypes=None, tolerance=2e-5, domain="com.microsoft", compared=None, **attributes):
        self.op, self.inputs, self.constants, self.order, self.outputs = op, inputs, constants, order.split(","), outputs
        self.dtypes, self.tolerance, self.attributes, self.domain, self.compared = dtypes, tolerance, attributes, domain, compared

    def shape(self, array, is_open):
        """With names for the axes of batch and length; the same size has the same name."""
        images = self.op in ("FusedConv", "NhwcConv", "GridSample", "QLinearGlobalAveragePool", "QLinearAveragePool", "GroupNorm")
        axes = {1: [0], 2: [0, 1] if array.dtype.kind == "i" else [0], 3: [0, 1], 4: [0, 2, 3] if images else [0, 2], 5: [1, 3]}
        if self.op in ("NhwcConv", "GroupNorm"):
            axes[4] = [0, 1, 2]
        if self.op == "Inverse":
            axes[3] = [0]
        return [f"n{size}" if is_open and i in axes.get(array.ndim, []) and size > 1 else size for i, size in enumerate(array.shape)]

    def model(self, is_open=False):
        names = [f"y{i}" if wanted else "" for i, wanted in enumerate(self.outputs)]
        node = helper.make_node(self.op, self.order, names, domain=self.domain, **self.attributes)
        graph = helper.make_graph(
            [node], "g", [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), self.shape(v, is_open)) for k, v in self.inputs.items()],
            [helper.make_tensor_value_info(n, (self.dtypes or [F] * 9)[i], None) for i, n in enumerate(names) if n],
            [numpy_helper.from_array(v, k) for k, v in self.constants.items()])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10)


def rotary(limit, half):
    angles = numpy.outer(numpy.arange(limit), 1 / 100 ** (numpy.arange(half) / half))
    return numpy.cos(angles).astype(f32), numpy.sin(angles).astype(f32)


def cases():
    x = real(2, 3, 8)
    yield Case("BiasGelu", {"a": x}, {"b": real(8)}, "a,b", [1])
    yield Case("FastGelu", {"a": x}, {"b": real(8)}, "a,b", [1])
    yield Case("FastGelu", {"a": x}, {}, "a", [1])
    yield Case("QuickGelu", {"a": x}, {}, "a", [1])
    yield Case("Gelu", {"a": x}, {}, "a", [1])
    yield Case("SkipLayerNormalization", {"a": x, "s": real(2, 3, 8)}, {"g": real(8), "b": real(8), "c": real(8)}, "a,s,g,b,c", [1, 0, 0, 1], epsilon=1e-5)
    yield Case("SkipSimplifiedLayerNormalization", {"a": x, "s": real(2, 3, 8)}, {"g": real(8), "c": real(8)}, "a,s,g,c", [1, 0, 0, 1], epsilon=1e-5)
    yield Case("SimplifiedLayerNormalization", {"a": x}, {"g": real(8)}, "a,g", [1], domain="", axis=-1, epsilon=1e-5)
    ids = rng.integers(0, 10, (2, 4)).astype(i32)
    tables = {"w": real(10, 8), "p": real(6, 8), "t": real(2, 8), "g": real(8), "b": real(8)}
    yield Case("EmbedLayerNormalization", {"i": ids, "s": rng.integers(0, 2, (2, 4)).astype(i32), "m": numpy.array([[1, 1, 1, 0], [1, 1, 0, 0]], i32)}, tables,
               "i,s,w,p,t,g,b,m", [1, 1], [F, I32], epsilon=1e-5)
    yield Case("FusedMatMul", {"a": real(2, 4, 3), "b": real(2, 5, 4)}, {}, "a,b", [1], transA=1, transB=1, alpha=0.5)
    yield Case("FusedGemm", {"a": real(3, 4)}, {"b": real(4, 5), "c": real(5)}, "a,b,c", [1], activation="Relu")
    yield Case("FusedConv", {"a": real(1, 3, 8, 8), "z": real(1, 4, 8, 8)}, {"w": real(4, 3, 3, 3), "b": real(4)}, "a,w,b,z", [1], pads=[1, 1, 1, 1], activation="Relu")
    yield Case("FusedConv", {"a": real(1, 3, 8, 8)}, {"w": real(4, 3, 3, 3), "b": real(4)}, "a,w,b", [1], strides=[2, 2], activation="LeakyRelu", activation_params=[0.3])
    yield Case("NhwcConv", {"a": real(1, 8, 8, 3)}, {"w": real(4, 3, 3, 3), "b": real(4)}, "a,w,b", [1], pads=[1, 1, 1, 1])
    yield Case("Inverse", {"a": real(3, 4, 4)}, {}, "a", [1], tolerance=1e-3)
    yield Case("GridSample", {"a": real(1, 2, 5, 6), "g": rng.uniform(-1.2, 1.2, (1, 3, 4, 2)).astype(f32)}, {}, "a,g", [1], mode="bicubic", padding_mode="reflection")
    yield Case("GroupNorm", {"a": real(1, 4, 4, 8)}, {"g": real(8), "b": real(8)}, "a,g,b", [1], groups=4, activation=1)
    # attention
    h, n = 16, 4
    weights = {"w": real(h, 3 * h, scale=0.3), "b": real(3 * h)}
    yield Case("Attention", {"x": real(2, 5, h)}, weights, "x,w,b", [1], num_heads=n)
    yield Case("Attention", {"x": real(2, 5, h), "m": numpy.array([5, 3], i32)}, weights, "x,w,b,m", [1], num_heads=n)
    yield Case("Attention", {"x": real(2, 5, h), "m": numpy.array([[1] * 5, [1, 1, 1, 0, 0]], i32)}, weights, "x,w,b,m", [1], num_heads=n)
    yield Case("Attention", {"x": real(2, 3, h), "p": real(2, 2, n, 4, h // n)}, weights, "x,w,b,,p", [1, 1], num_heads=n, unidirectional=1)
    yield Case("MultiHeadAttention", {"q": real(2, 3, h), "k": real(2, 5, h), "v": real(2, 5, h)}, {"b": real(3 * h)}, "q,k,v,b", [1], num_heads=n)
    yield Case("MultiHeadAttention", {"q": real(2, 3, h), "k": real(2, 3, h), "v": real(2, 3, h), "a": real(1, n, 3, 7), "pk": real(2, n, 4, 4), "pv": real(2, n, 4, 4)}, {},
               "q,k,v,,,a,pk,pv", [1, 1, 1], num_heads=n)
    cos, sin = rotary(32, 2)
    wide = rotary(32, 8)  # heads of 16 elements, which is what GroupQueryAttention asks for
    for past, total, tokens in ((4, 7, 3), (4, 5, 1)):
        yield Case("GroupQueryAttention",
                   {"q": real(1, tokens, 64), "k": real(1, tokens, 32), "v": real(1, tokens, 32), "pk": real(1, 2, past, 16), "pv": real(1, 2, past, 16),
                    "s": numpy.array([total - 1], i32), "t": numpy.array(total, i32)}, {"c": wide[0], "n": wide[1]}, "q,k,v,pk,pv,s,t,c,n", [1, 1, 1],
                   num_heads=4, kv_num_heads=2, do_rotary=1)
    yield Case("GroupQueryAttention", {"q": real(2, 3, 128), "s": numpy.array([2, 2], i32), "t": numpy.array(3, i32)},
               {"c": wide[0], "n": wide[1]}, "q,,,,,s,t,c,n", [1, 1, 1], num_heads=4, kv_num_heads=2, do_rotary=1, local_window_size=2)
    yield Case("RotaryEmbedding", {"x": real(2, 3, h), "p": rng.integers(0, 30, (2, 3)).astype(i64)}, {"c": cos, "n": sin}, "x,p,c,n", [1])
    yield Case("RotaryEmbedding", {"x": real(2, 4, 3, 4), "p": numpy.array([5], i64)}, {"c": cos, "n": sin}, "x,p,c,n", [1], interleaved=1)
    # quantised
    s1, s2, s3 = numpy.array(0.02, f32), numpy.array(0.03, f32), numpy.array(0.05, f32)
    z1, z2, z3 = numpy.array(120, numpy.uint8), numpy.array(130, numpy.uint8), numpy.array(100, numpy.uint8)
    pair = {"as": s1, "az": z1, "bs": s2, "bz": z2, "cs": s3, "cz": z3}
    yield Case("QLinearAdd", {"a": u8(2, 5), "b": u8(2, 5)}, pair, "a,as,az,b,bs,bz,cs,cz", [1], [U8], tolerance=1)
    yield Case("QLinearMul", {"a": u8(2, 5), "b": u8(2, 5)}, pair, "a,as,az,b,bs,bz,cs,cz", [1], [U8], tolerance=1)
    yield Case("QLinearSigmoid", {"a": u8(2, 5)}, {**pair, "cs": numpy.array(1 / 256, f32), "cz": numpy.array(0, numpy.uint8)}, "a,as,az,cs,cz", [1], [U8], tolerance=1)
    yield Case("QLinearLeakyRelu", {"a": u8(2, 5)}, pair, "a,as,az,cs,cz", [1], [U8], tolerance=1, alpha=0.1)
    yield Case("QLinearGlobalAveragePool", {"a": u8(1, 3, 4, 4)}, pair, "a,as,az,cs,cz", [1], [U8], tolerance=1)
    yield Case("QLinearAveragePool", {"a": u8(1, 3, 4, 4)}, pair, "a,as,az,cs,cz", [1], [U8], tolerance=1, kernel_shape=[2, 2])
    yield Case("QLinearConcat", {"a": u8(2, 5), "b": u8(2, 3)}, pair, "cs,cz,a,as,az,b,bs,bz", [1], [U8], tolerance=1, axis=1)
    yield Case("QLinearSoftmax", {"a": u8(2, 5)}, {**pair, "cs": numpy.array(1 / 256, f32), "cz": numpy.array(0, numpy.uint8)}, "a,as,az,cs,cz", [1], [U8], tolerance=1, opset=13, axis=-1)
    yield Case("QGemm", {"a": u8(3, 4)}, {**pair, "b": u8(4, 5), "c": rng.integers(-500, 500, 5).astype(i32)}, "a,as,az,b,bs,bz,c", [1])
    yield Case("MatMulIntegerToFloat", {"a": u8(3, 40)}, {**pair, "b": i8(40, 5), "z": numpy.array(3, numpy.int8)}, "a,b,as,bs,az,z", [1])
    yield Case("DynamicQuantizeMatMul", {"a": real(3, 40)}, {"b": i8(40, 5), "s": s2, "z": numpy.array(3, numpy.int8), "c": real(5)}, "a,b,s,z,c", [1], tolerance=1e-4)
    for bits, zeros in ((4, False), (4, True), (8, False), (8, True)):
        constants = {"b": u8(24, 4, 32 * bits // 8), "s": numpy.abs(real(24, 4)) * f32(0.1)}
        if zeros:
            constants["z"] = u8(24, 4 * bits // 8)
        yield Case("MatMulNBits", {"a": real(3, 128)}, constants, "a,b,s" + (",z" if zeros else ""), [1], K=128, N=24, bits=bits, block_size=32, tolerance=1e-4)
    yield Case("GatherBlockQuantized", {"i": rng.integers(0, 12, (2, 3)).astype(i64)}, {"d": u8(12, 32), "s": real(12, 4), "z": u8(12, 2)}, "d,i,s,z", [1],
               bits=4, block_size=16, gather_axis=0, quantize_axis=1)
    qw = {"w": i8(h, 3 * h), "b": real(3 * h), "xs": s1, "ws": numpy.array(0.01, f32), "xz": z1, "wz": numpy.array(0, numpy.int8)}
    yield Case("QAttention", {"x": u8(2, 5, h)}, qw, "x,w,b,xs,ws,,xz,wz", [1], num_heads=n, tolerance=1e-4)
    lstm = {"w": i8(1, 6, 32), "r": i8(1, 8, 32), "b": real(1, 64), "ws": numpy.array([0.01], f32), "wz": numpy.array([0], numpy.int8),
            "rs": numpy.array([0.01], f32), "rz": numpy.array([0], numpy.int8)}
    yield Case("DynamicQuantizeLSTM", {"x": real(5, 2, 6)}, lstm, "x,w,r,b,,,,,ws,wz,rs,rz", [1, 1, 1], hidden_size=8, tolerance=2e-2)


def variants():
    """Inputs and attributes that exporters leave out more often than not."""
    h, n = 16, 4
    mask = numpy.array([[1] * 5, [1, 1, 1, 0, 0]], i32)
    weights = {"w": real(h, 3 * h, scale=0.3), "b": real(3 * h)}
    yield Case("Attention", {"x": real(2, 5, h), "a": real(1, n, 5, 5)}, weights, "x,w,b,,,a", [1], num_heads=n)
    yield Case("Attention", {"x": real(2, 5, h), "a": real(2, n, 5, 5)}, weights, "x,w,b,,,a", [1], num_heads=n, scale=0.3, unidirectional=1)
    yield Case("Attention", {"x": real(2, 5, h), "m": numpy.broadcast_to(mask[:, None, :], (2, 5, 5)).copy()}, weights, "x,w,b,m", [1], num_heads=n)
    yield Case("Attention", {"x": real(2, 5, h)}, {"w": real(h, 8 + 8 + 12, scale=0.3), "b": real(28)}, "x,w,b", [1], num_heads=n, qkv_hidden_sizes=[8, 8, 12])
    q, k, v = real(2, 3, h), real(2, 5, h), real(2, 5, h)
    yield Case("MultiHeadAttention", {"q": q, "k": k, "v": v, "m": mask}, {}, "q,k,v,,m", [1], num_heads=n)
    yield Case("MultiHeadAttention", {"q": q, "k": k, "v": v, "a": real(2, n, 3, 5)}, {}, "q,k,v,,,a", [1], num_heads=n, scale=0.5)
    yield Case("MultiHeadAttention", {"q": q, "k": real(2, n, 5, 4), "v": real(2, n, 5, 4)}, {}, "q,k,v", [1], num_heads=n)
    yield Case("MultiHeadAttention", {"q": real(2, 3, h), "k": real(2, 3, h), "v": real(2, 3, h)}, {"b": real(3 * h)}, "q,k,v,b", [1, 1, 1], num_heads=n, unidirectional=1)
    wide = rotary(32, 8)
    gqa = {"q": real(2, 3, 64), "k": real(2, 3, 32), "v": real(2, 3, 32), "s": numpy.array([2, 2], i32), "t": numpy.array(3, i32)}
    yield Case("GroupQueryAttention", gqa, {"c": wide[0], "n": wide[1]}, "q,k,v,,,s,t,c,n", [1, 1, 1], num_heads=4, kv_num_heads=2, do_rotary=1, rotary_interleaved=1)
    yield Case("GroupQueryAttention", gqa, {}, "q,k,v,,,s,t", [1, 1, 1], num_heads=4, kv_num_heads=2, softcap=5.0, scale=0.2)
    yield Case("GroupQueryAttention", gqa, {}, "q,k,v,,,s,t", [1, 1, 1], num_heads=4, kv_num_heads=2, smooth_softmax=1)
    # Sequences of different lengths. What lies behind a shorter one's keys is nobody's business.
    one = {"q": real(2, 1, 64), "k": real(2, 1, 32), "v": real(2, 1, 32), "pk": real(2, 2, 6, 16), "pv": real(2, 2, 6, 16), "s": numpy.array([6, 4], i32), "t": numpy.array(7, i32)}
    yield Case("GroupQueryAttention", one, {"c": wide[0], "n": wide[1]}, "q,k,v,pk,pv,s,t,c,n", [1, 1, 1], num_heads=4, kv_num_heads=2, do_rotary=1, compared=["y0"])
    x, ids = real(2, 3, 8), rng.integers(0, 10, (2, 4)).astype(i32)
    yield Case("SkipLayerNormalization", {"a": x, "s": real(3, 8)}, {"g": real(8)}, "a,s,g", [1])
    yield Case("SkipLayerNormalization", {"a": x, "s": real(1, 3, 8)}, {"g": real(8), "b": real(8)}, "a,s,g,b", [1])
    yield Case("SkipLayerNormalization", {"a": real(6, 8), "s": real(6, 8)}, {"g": real(8), "b": real(8)}, "a,s,g,b", [1])
    yield Case("SkipSimplifiedLayerNormalization", {"a": x, "s": real(2, 3, 8)}, {"g": real(8)}, "a,s,g", [1, 0, 0, 0])
    tables = {"w": real(10, 8), "p": real(6, 8), "g": real(8), "b": real(8)}
    yield Case("EmbedLayerNormalization", {"i": ids}, tables, "i,,w,p,,g,b", [1, 1], [F, I32])
    yield Case("EmbedLayerNormalization", {"i": ids, "o": numpy.array([[0, 1, 2, 3], [2, 3, 4, 5]], i32)}, tables, "i,,w,p,,g,b,,o", [1, 1, 1], [F, I32, F])
    cos, sin = rotary(32, 2)
    yield Case("RotaryEmbedding", {"x": real(2, 4, 3, 8), "p": rng.integers(0, 30, (2, 3)).astype(i64)}, {"c": cos, "n": sin}, "x,p,c,n", [1], num_heads=4, rotary_embedding_dim=4)
    yield Case("RotaryEmbedding", {"x": real(2, 3, 16), "p": numpy.array([2], i64)}, {"c": cos, "n": sin}, "x,p,c,n", [1], interleaved=1, scale=1.0)
    yield Case("FusedMatMul", {"a": real(2, 3, 4), "b": real(4, 5)}, {}, "a,b", [1], alpha=2.0)
    yield Case("FusedMatMul", {"a": real(4, 2, 3), "b": real(2, 3, 5)}, {}, "a,b", [1], transBatchA=1)
    yield Case("FusedGemm", {"a": real(4, 3)}, {"b": real(5, 4), "c": real(3, 5)}, "a,b,c", [1], transA=1, transB=1, alpha=0.5, beta=2.0, activation="LeakyRelu", activation_alpha=0.2)
    for activation, params in (("Clip", [-0.5, 0.7]), ("HardSigmoid", [0.3, 0.4])):
        yield Case("FusedConv", {"a": real(1, 3, 8, 8)}, {"w": real(4, 3, 3, 3)}, "a,w", [1], activation=activation, activation_params=params)
    for bits in (4, 8):
        constants = {"b": u8(24, 4, 32 * bits // 8), "s": numpy.abs(real(24, 4)) * f32(0.1), "z": real(24, 4), "c": real(24)}
        yield Case("MatMulNBits", {"a": real(2, 3, 128)}, constants, "a,b,s,,,c", [1], K=128, N=24, bits=bits, block_size=32, tolerance=1e-4)
        yield Case("MatMulNBits", {"a": real(2, 3, 120)}, constants, "a,b,s", [1], K=120, N=24, bits=bits, block_size=32, tolerance=1e-4)
        if bits == 4:  # ONNX Runtime takes floating zero points there only
            yield Case("MatMulNBits", {"a": real(3, 128)}, {**constants, "z": real(24, 4) * f32(4) + f32(8)}, "a,b,s,z", [1], K=128, N=24, bits=bits, block_size=32, tolerance=1e-4)
    yield Case("QLinearConv", {"a": u8(1, 3, 8, 8)}, {"as": numpy.array(0.02, f32), "az": numpy.array(120, numpy.uint8), "w": i8(4, 3, 3, 3), "ws": numpy.abs(real(4)) * f32(0.01) + f32(0.001),
               "wz": numpy.zeros(4, numpy.int8), "cs": numpy.array(0.05, f32), "cz": numpy.array(100, numpy.uint8), "b": rng.integers(-500, 500, 4).astype(i32)},
               "a,as,az,w,ws,wz,cs,cz,b", [1], [U8], tolerance=1, domain="", pads=[1, 1, 1, 1])
    yield Case("LayerNormalization", {"a": x}, {"g": real(8), "b": real(8)}, "a,g,b", [1], domain="")
    yield Case("Trilu", {"a": real(5, 5)}, {}, "a", [1], upper=0)
    yield Case("ExpandDims", {"a": x}, {"i": numpy.array(1, i32)}, "a,i", [1])
    yield Case("CDist", {"a": real(4, 3), "b": real(5, 3)}, {}, "a,b", [1], metric="euclidean", tolerance=1e-4)
    yield Case("GatherND", {"a": real(2, 3, 4)}, {"i": numpy.array([[0, 1], [1, 2]], i64)}, "a,i", [1])
    yield Case("Pad", {"a": real(2, 3)}, {"p": numpy.array([0, 1, 1, 0], i64)}, "a,p", [1])
    yield Case("QLinearWhere", {"c": numpy.array([[True, False], [False, True]]), "a": u8(2, 2), "b": u8(2, 2)}, {"as": numpy.array(0.02, f32), "az": numpy.array(120, numpy.uint8),
               "bs": numpy.array(0.03, f32), "bz": numpy.array(100, numpy.uint8), "cs": numpy.array(0.05, f32), "cz": numpy.array(110, numpy.uint8)}, "c,a,as,az,b,bs,bz,cs,cz", [1], [U8], tolerance=1)
    yield Case("DequantizeLinear", {"a": u8(2, 8)}, {"s": numpy.array(0.02, f32), "z": numpy.array(120, numpy.uint8)}, "a,s,z", [1])
    yield Case("QuantizeLinear", {"a": real(2, 8)}, {"s": numpy.array(0.02, f32), "z": numpy.array(120, numpy.uint8)}, "a,s,z", [1], [U8], tolerance=1)
    yield Case("DynamicQuantizeMatMul", {"a": real(2, 3, 40)}, {"b": u8(40, 5), "s": numpy.abs(real(5)) * f32(0.02), "z": u8(5)}, "a,b,s,z", [1], tolerance=1e-4)


def run(case, folder, is_open):
    model = case.model(is_open)
    path = folder / "model.onnx"
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    want = dict(zip(names, session.run(names, case.inputs)))
    numpy.savez(folder / "in.npz", **case.inputs)
    for words in (["convert", path, "-o", folder / "m.mlpackage", "--precision", "fp32", "--force", "--no-verify", "--quiet"],
                  ["run", folder / "m.mlpackage", "--inputs", folder / "in.npz", "--outputs", folder / "out.npz", "--force", "--quiet"]):
        done = subprocess.run([POMONA, *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip().splitlines()[0]
    got = numpy.load(folder / "out.npz")
    for name in case.compared or want:
        expected = want[name]
        if got[name].shape != expected.shape or got[name].dtype != expected.dtype:
            return f"{name} is {got[name].dtype}{got[name].shape} instead of {expected.dtype}{expected.shape}"
        difference = numpy.abs(got[name].astype(numpy.float64) - expected.astype(numpy.float64)).max(initial=0)
        if not difference <= case.tolerance * max(1, numpy.abs(expected).max(initial=0) if expected.dtype == f32 else 1):
            return f"{name} differs by {difference:g}"
    return None


def main():
    onnxruntime.set_default_logger_severity(4)
    failed = count = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in itertools.chain(cases(), variants()):
            if sys.argv[1:] and case.op not in sys.argv[1:]:
                continue
            for is_open in (False, True):
                count += 1
                try:
                    problem = run(case, pathlib.Path(folder), is_open)
                except Exception as error:  # ONNX Runtime has no kernel for it here: nothing to compare with
                    print(f"  {case.op}: no answer from ONNX Runtime ({str(error).splitlines()[0][:150]})")
                    break
                if problem:
                    failed += 1
                    print(f"  {case.op} {case.attributes}{' with open sizes' if is_open else ''}: {problem}")
    print(f"{count} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
