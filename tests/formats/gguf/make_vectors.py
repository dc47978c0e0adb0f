"""Makes blocks.gguf with the `gguf` package: per block format a tensor of random blocks and, beside it, the values that
the package decodes them to. Usage: python make_vectors.py (wants numpy and gguf)."""

import pathlib

import numpy as np
import gguf
from gguf import GGMLQuantizationType as T

HERE = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(7)
ROWS = 3
# Where fp16 numbers lie in a block; the rest may hold any bits.
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ2_XXS: [0], T.IQ2_XS: [0], T.IQ2_S: [0], T.IQ3_XXS: [0], T.IQ3_S: [0],
    T.IQ1_S: [0], T.IQ4_NL: [0], T.IQ4_XS: [0], T.TQ1_0: [52], T.TQ2_0: [64], T.Q1_0: [0], T.IQ1_M: [], T.MXFP4: [], T.NVFP4: [],
    T.Q8_K: [],
}  # fmt: skip


def random_blocks(kind, count):
    blocks = RANDOM.integers(0, 256, (count, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
    # Halves of every size down to subnormal ones; a zero now and then.
    for at in HALVES[kind]:
        halves = (RANDOM.standard_normal(count) * 2.0 ** RANDOM.integers(-18, 4, count)).astype(np.float16)
        halves[::7] = 0
        blocks[:, at : at + 2] = halves.view(np.uint8).reshape(count, 2)
    if kind == T.IQ1_M:  # its scale is spread over four nibbles; keep the exponent below that of infinities
        blocks[:, 55] &= 0xBF
    if kind == T.Q8_K:
        blocks[:, :4] = (RANDOM.standard_normal(count) / 100).astype(np.float32).view(np.uint8).reshape(count, 4)
    return blocks


def expected(kind, blocks):
    if kind == T.Q8_K:
        return blocks[:, :4].copy().view(np.float32) * blocks[:, 4:260].view(np.int8).astype(np.float32)
    if kind == T.Q1_0:
        signs = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").astype(np.float32) * 2 - 1
        return blocks[:, :2].copy().view(np.float16).astype(np.float32) * signs
    return gguf.quants.dequantize(blocks, kind)


def main():
    writer = gguf.GGUFWriter(HERE / "blocks.gguf", "test")
    writer.add_uint32("number", 7)
    writer.add_float32("float", 0.5)
    writer.add_bool("flag", True)
    writer.add_string("text", "caf\u00e9")
    writer.add_array("texts", ["a", "", "\u732b"])
    writer.add_array("integers", [-1, 2, 3])
    writer.add_array("floats", [0.25, -1.5])
    writer.add_int64("wide", -(2**40))
    for kind in HALVES:
        per_row = 2 if gguf.GGML_QUANT_SIZES[kind][0] < 256 else 1
        blocks = random_blocks(kind, ROWS * per_row)
        writer.add_tensor(kind.name, blocks.reshape(ROWS, -1), raw_dtype=kind)
        values = np.ascontiguousarray(expected(kind, blocks), dtype=np.float32).reshape(ROWS, -1)
        assert np.isfinite(values).all(), kind
        writer.add_tensor(kind.name + ".expected", values)
    for kind, dtype in [(T.I8, np.int8), (T.I16, np.int16), (T.I32, np.int32), (T.I64, np.int64), (T.F64, np.float64), (T.F16, np.float16)]:
        values = (RANDOM.standard_normal((2, 5)) * 50).astype(dtype)
        writer.add_tensor(kind.name, values)
        writer.add_tensor(kind.name + ".expected", values.astype(np.float32))
    values = RANDOM.standard_normal((2, 6)).astype(np.float32)
    packed = gguf.quants.quantize(values, T.BF16)
    writer.add_tensor("BF16", packed, raw_dtype=T.BF16)
    writer.add_tensor("BF16.expected", gguf.quants.dequantize(packed, T.BF16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
