"""quantize, dequantize and both generations of constexpr ops."""

import itertools

import numpy as np

from harness import SUB_BYTE_BITS, In, SubByte, class_versions, narrow, random_array, seeded, wide

LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}


def along(values, axis, rank):
    v = wide(values)
    return v if v.ndim == 0 else v.reshape([-1 if a == axis % rank else 1 for a in range(rank)])


def quantize(suite):
    for dtype in ("float16", "float32"):
        t = np.dtype(dtype).type
        for target in ("int8", "uint8"):
            low, high = LIMITS[target]
            for k, (shape, axis) in enumerate(
                [((5,), None), ((2, 3), 0), ((2, 3), -1), ((2, 3, 2), 1), ((1, 2, 2, 2), 3), ((), None), ((0, 3), 1)]
            ):
                for shifted in (True, False):
                    rng = seeded("quantize", k, dtype, target)
                    x = random_array(rng, shape, dtype, -40, 40)
                    size = () if axis is None else (shape[axis],)
                    scale = (2.0 ** rng.integers(-3, 1, size)).astype(dtype)
                    zero = rng.integers(low // 4, high // 4, size).astype(target)
                    v = wide(x) / along(scale, axis or 0, x.ndim) + 0
                    q = np.clip(np.round(v) + (along(zero, axis or 0, x.ndim) if shifted else 0), low, high).astype(
                        target
                    )
                    inputs = {
                        "input": In(x, (None,) + shape[1:] if k == 3 else None),
                        "scale": scale if size else t(scale),
                        "output_dtype": target,
                    }
                    if shifted:
                        inputs["zero_point"] = zero if size else np.dtype(target).type(zero)
                    if axis is not None:
                        inputs["axis"] = np.int32(axis)
                    suite.op("quantize", 17, f"{dtype}_{target}_{k}", inputs, q, fold=bool(shape))
                    stored = rng.integers(low, high + 1, shape).astype(target)
                    real = (wide(stored) - (along(zero, axis or 0, x.ndim) if shifted else 0)) * along(
                        scale, axis or 0, x.ndim
                    )
                    inputs = {k_: v_ for k_, v_ in inputs.items() if k_ != "output_dtype"}
                    inputs["input"] = In(stored, inputs["input"].dims)
                    suite.op("dequantize", 17, f"{dtype}_{target}_{k}", inputs, narrow(real, dtype), fold=bool(shape))
    ties = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 300.0, -300.0], "float32")
    suite.op(
        "quantize",
        17,
        "ties",
        {"input": In(ties), "scale": np.float32(1), "output_dtype": "int8"},
        np.array([0, 2, 2, 0, -2, 127, -128], "int8"),
        reading="halves go to even, then saturation",
    )
    x = np.array([[1, 2], [3, 4]], "float32").reshape(1, 1, 2, 2)
    for axis in (3, -1):
        inputs = {"zero_point": np.array([2, 4], "int8"), "scale": np.array([1, 2], "float32"), "axis": np.int32(axis)}
        q = np.array([[3, 5], [5, 6]], "int8").reshape(1, 1, 2, 2)
        suite.op(
            "quantize", 17, "vector", {"input": In(x), "output_dtype": "int8", **inputs}, q, source="fact sheet vector"
        )
        suite.op("dequantize", 17, "vector", {"input": In(q), **inputs}, x, source="fact sheet vector")
    suite.error(
        "quantize",
        17,
        "axis_missing",
        {"input": In(x), "scale": np.array([1, 2], "float32"), "output_dtype": "int8"},
        [((1, 1, 2, 2), "int8")],
        reading="a rank 1 scale needs axis",
    )
    suite.error(
        "dequantize",
        17,
        "axis_missing",
        {"input": In(x.astype("int8")), "scale": np.array([1, 2], "float32")},
        [((1, 1, 2, 2), "float32")],
        reading="a rank 1 scale needs axis",
    )


def packed(values, bits):
    stream = ((np.asarray(values).ravel().astype(np.int64)[:, None] >> np.arange(bits)) & 1).astype(np.uint8).ravel()
    return np.packbits(stream, bitorder="little")


def first_generation(suite):
    for opset in (16, 18):
        for dtype in ("float16", "float32"):
            for source in ("int8", "uint8") if opset == 16 else ("int8",):
                for k, (shape, axis) in enumerate([((4,), 0), ((2, 3), 1), ((2, 3), -2), ((2, 3, 2, 2), 1)]):
                    for many_scales, many_zeros in itertools.product((True, False), (True, False)):
                        rng = seeded("affine dequantize", k, source, dtype)
                        n = shape[axis]
                        data = rng.integers(*LIMITS[source], shape).astype(source)
                        scale = random_array(rng, (n,) if many_scales else (), dtype, 0.1, 2)
                        zero = rng.integers(*LIMITS[source], (n,) if many_zeros else ()).astype(source)
                        want = along(scale, axis, data.ndim) * (wide(data) - along(zero, axis, data.ndim))
                        inputs = {
                            "quantized_data": data,
                            "zero_point": zero if zero.ndim else zero[()],
                            "scale": scale if scale.ndim else scale[()],
                            "axis": np.int32(axis),
                        }
                        suite.op(
                            "constexpr_affine_dequantize", opset, f"{dtype}_{source}_{k}", inputs, narrow(want, dtype)
                        )
    data, zero = np.array([1, 2, 3], "uint8"), np.array([0.5, 1.5, 2.5], "float32")
    inputs = {"quantized_data": data, "zero_point": zero, "scale": np.array([2, 2, 4], "float32"), "axis": np.int32(0)}
    suite.raw(
        "constexpr_affine_dequantize",
        16,
        "float_zero_point",
        inputs,
        np.array([1, 1, 2], "float32"),
        attributes=True,
        reading="zero_point may be fp32",
    )
    for opset in class_versions("constexpr_cast"):
        for shape in ((3,), (2, 3), (1, 2, 2), ()):
            x = random_array(seeded("constexpr_cast", shape), shape, "float16")
            value = x if x.ndim else x[()]
            suite.op(
                "constexpr_cast",
                opset,
                f"rank{len(shape)}",
                {"source_val": value, "output_dtype": "fp32"},
                x.astype("float32"),
                rtol=0,
            )
        special = np.array([np.inf, -np.inf, np.nan, 6e-8, 65504, -0.0], "float16")
        suite.op(
            "constexpr_cast",
            opset,
            "special",
            {"source_val": special, "output_dtype": "fp32"},
            special.astype("float32"),
            rtol=0,
        )
    for bits in (1, 2, 4, 6, 8):
        for dtype in ("float16", "float32", "int8", "uint8"):
            for shape in ((5,), (3, 1, 3)):
                rng = seeded("lut", bits, dtype, shape)
                lut = random_array(rng, (1 << bits,), dtype)
                indices = rng.integers(0, 1 << bits, shape)
                suite.op(
                    "constexpr_lut_to_dense",
                    16,
                    f"{dtype}_{bits}bit",
                    {"indices": packed(indices, bits), "lut": lut, "shape": np.array(shape, "uint32")},
                    lut[indices],
                    rtol=0,
                )
    for dtype in ("float16", "float32", "int8", "uint8"):
        for shape in ((5,), (2, 5), (3, 2, 3), (16,), (1, 1)):
            rng = seeded("sparse", dtype, shape)
            mask = rng.integers(0, 2, shape)
            mask.ravel()[0] = 1
            values = random_array(rng, (int(mask.sum()),), dtype)
            want = np.zeros(shape, dtype)
            want[mask.astype(bool)] = values
            suite.op(
                "constexpr_sparse_to_dense",
                16,
                dtype,
                {"nonzero_data": values, "mask": packed(mask, 1), "shape": np.array(shape, "uint32")},
                want,
                rtol=0,
            )


def stored(rng, shape, dtype):
    if dtype in SUB_BYTE_BITS:
        low, high = LIMITS.get(dtype, (0, (1 << SUB_BYTE_BITS[dtype]) - 1))
        return SubByte(rng.integers(low, high + 1, shape), dtype)
    return random_array(rng, shape, dtype)


def plain(value):
    return wide(value.value) if isinstance(value, SubByte) else wide(value)


def spread(value, shape):
    """Repeats a block-wise parameter to the full shape."""
    v = plain(value)
    for axis, n in enumerate(shape):
        v = np.repeat(v, n // v.shape[axis], axis=axis)
    return v


BLOCKS = [
    ((4,), (2,)),
    ((4,), (1,)),
    ((2, 6), (2, 3)),
    ((2, 6), (1, 1)),
    ((4, 6), (2, 2)),
    ((2, 4, 1, 2), (2, 2, 1, 1)),
    ((3, 5), (3, 5)),
]


def blockwise(suite):
    for source in ("int4", "uint4", "int8", "uint8", "float16", "float32"):
        for dtype in ("float16", "float32"):
            for k, (shape, blocks) in enumerate(BLOCKS):
                for offset_kind in (None, source, dtype):
                    if k > 2 and (offset_kind == dtype or dtype == "float16"):
                        continue
                    rng = seeded("blockwise", source, dtype, k)
                    data, scale = stored(rng, shape, source), random_array(rng, blocks, dtype, 0.1, 1)
                    offset = None if offset_kind is None else stored(rng, blocks, offset_kind)
                    want = spread(scale, shape) * (plain(data) - (0 if offset is None else spread(offset, shape)))
                    inputs = {"data": data, "scale": scale, **({} if offset is None else {"offset": offset})}
                    suite.op(
                        "constexpr_blockwise_shift_scale",
                        18,
                        f"{source}_{dtype}_{k}",
                        inputs,
                        narrow(want, dtype),
                        accumulate=True,
                    )
    suite.error(
        "constexpr_blockwise_shift_scale",
        18,
        "blocks_do_not_divide",
        {"data": np.zeros((4, 5), "int8"), "scale": np.ones((2, 2), "float32")},
        [((4, 5), "float32")],
    )


def lut_dense_value(indices, lut, vector_axis):
    rank = indices.ndim
    vector = lut.shape[-1]
    out = np.zeros(indices.shape + (vector,), lut.dtype)
    for e in np.ndindex(*indices.shape):
        group = tuple(i * g // n for i, g, n in zip(e, lut.shape[:rank], indices.shape))
        out[e] = lut[group][indices[e]]
    if vector == 1:
        return out[..., 0]
    moved = np.moveaxis(out, -1, vector_axis % rank + 1)
    return moved.reshape([n * vector if a == vector_axis % rank else n for a, n in enumerate(indices.shape)])


LUTS = [
    ((4,), (1,), 1, None),
    ((2, 6), (1, 1), 1, None),
    ((4, 6), (2, 1), 1, None),
    ((4, 6), (2, 3), 1, None),
    ((4, 2), (2, 1), 2, 0),
    ((4, 2), (1, 2), 3, 1),
    ((2, 2, 3), (2, 1, 1), 2, 1),
    ((2, 3, 1, 1), (1, 3, 1, 1), 1, None),
    ((4,), (2,), 2, 0),
]


def tables(suite):
    for bits in (1, 2, 3, 4, 6, 8):
        for k, (shape, groups, vector, axis) in enumerate(LUTS):
            dtype = ("float16", "float32", "int8", "uint8")[(k + bits) % 4]
            rng = seeded("lut18", bits, k)
            raw = rng.integers(0, 1 << bits, shape)
            indices = SubByte(raw, f"uint{bits}") if bits < 8 else raw.astype("uint8")
            lut = random_array(rng, groups + (1 << bits, vector), dtype)
            inputs = {"indices": indices, "lut": lut, **({} if axis is None else {"vector_axis": np.int32(axis)})}
            suite.op(
                "constexpr_lut_to_dense", 18, f"{dtype}_{bits}bit_{k}", inputs, lut_dense_value(raw, lut, axis), rtol=0
            )
            if k in (3, 5, 8):  # sparse: the same table on the non-zero positions only
                mask = rng.integers(0, 2, shape)
                mask.ravel()[0] = 1
                dense = lut_dense_value(raw, lut, axis)
                wide_mask = np.repeat(mask, vector, axis=axis) if axis is not None else mask
                entries = raw[mask.astype(bool)]
                picked = dense[wide_mask.astype(bool)]
                inputs = {
                    "indices_mask": SubByte(mask, "uint1"),
                    "indices_nonzero_data": SubByte(entries, f"uint{bits}") if bits < 8 else entries.astype("uint8"),
                    "lut": lut,
                    **({} if axis is None else {"vector_axis": np.int32(axis)}),
                }
                suite.op(
                    "constexpr_lut_to_sparse",
                    18,
                    f"{dtype}_{bits}bit_{k}",
                    inputs,
                    [wide_mask.astype("uint8"), picked],
                    rtol=0,
                )
    for dtype in ("int4", "uint4", "int8", "uint8", "float16", "float32"):
        for shape in ((5,), (2, 5), (3, 2, 3), (1, 1)):
            rng = seeded("sparse18", dtype, shape)
            mask = rng.integers(0, 2, shape)
            mask.ravel()[0] = 1
            values = stored(rng, (int(mask.sum()),), dtype)
            want = np.zeros(shape, "int64" if dtype in SUB_BYTE_BITS else dtype)
            want[mask.astype(bool)] = plain(values)
            want = want.astype({"int4": "int8", "uint4": "uint8"}.get(dtype, dtype))
            suite.op(
                "constexpr_sparse_to_dense",
                18,
                dtype,
                {"nonzero_data": values, "mask": SubByte(mask, "uint1")},
                want,
                rtol=0,
            )
    for source in ("int4", "uint4", "int8", "uint8", "float16", "float32"):
        for k, (shape, blocks) in enumerate(BLOCKS):
            for shifted in (True, False):
                dtype = ("float16", "float32")[k % 2]
                rng = seeded("sparse blockwise", source, k)
                mask = rng.integers(0, 2, shape)
                mask.ravel()[0] = 1
                on = mask.astype(bool)
                values, scale = stored(rng, (int(mask.sum()),), source), random_array(rng, blocks, dtype, 0.1, 1)
                offset = stored(rng, blocks, source)
                want = spread(scale, shape)[on] * (plain(values) - (spread(offset, shape)[on] if shifted else 0))
                inputs = {
                    "data_mask": SubByte(mask, "uint1"),
                    "nonzero_data": values,
                    "scale": scale,
                    **({"offset": offset} if shifted else {}),
                }
                suite.op(
                    "constexpr_sparse_blockwise_shift_scale",
                    18,
                    f"{source}_{dtype}_{k}",
                    inputs,
                    [mask.astype("uint8"), narrow(want, dtype)],
                    accumulate=True,
                )


def add(suite):
    quantize(suite)
    first_generation(suite)
    blockwise(suite)
    tables(suite)
