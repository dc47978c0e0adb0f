"""What fp16 cannot hold in a program of fp16: codes of sixteen bits and their scales, masks of "minus infinity" that went through a quantiser, thresholds of
trees. Converted in fp16, run, and compared with ONNX Runtime.
"""
import pathlib
import sys

import numpy
from onnx import helper, parser

sys.path.insert(0, str(pathlib.Path(__file__).parent / "random_models"))
import trial  # noqa: E402

rng = numpy.random.default_rng(0)


def case(text, **inputs):
    return trial.Case(parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]> codes {text}'), inputs, {"y"})


def sixteen_bits(scale, zero):
    span = numpy.array([0, 1, 1000, 32768, 65504, 65535], numpy.float64) - zero
    return case(f"(float[n,6] x) => (float[n,6] y) <float s = {{{scale}}}, uint16 z = {{{zero}}}> {{ q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }}",
                x=(span * scale).astype(numpy.float32)[None].repeat(2, 0))


def coded_mask(scale, kind):
    lowest = "-3.4028235e38"
    return case("(float[2,5] x, bool[2,5] open) => (float[2,5] y) "
                f"<float no = {{{lowest}}}, float yes = {{0}}, float s = {{{scale}}}, {kind} z = {{{0 if kind == 'int8' else 255}}}> "
                "{ m = Where(open, yes, no) q = QuantizeLinear(m, s, z) d = DequantizeLinear(q, s, z) a = Add(x, d) y = Softmax<axis=-1>(a) }",
                x=rng.normal(size=(2, 5)).astype(numpy.float32), open=numpy.array([[1, 0, 1, 1, 0], [0, 1, 0, 0, 1]], bool))


def forest():
    """Two trees of one test each, at thresholds close to the inputs."""
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=[0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2] * 2,
                            nodes_featureids=[0, 0, 0, 1, 0, 0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2, nodes_values=[0.50001, 0, 0, 1000.1, 0, 0],
                            nodes_truenodeids=[1, 0, 0] * 2, nodes_falsenodeids=[2, 0, 0] * 2, target_treeids=[0, 0, 1, 1], target_nodeids=[1, 2, 1, 2],
                            target_ids=[0] * 4, target_weights=[1.0, 2, 10, 20])
    graph = helper.make_graph([node], "forest", [helper.make_tensor_value_info("x", 1, ["n", 2])], [helper.make_tensor_value_info("y", 1, ["n", 1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    return trial.Case(model, {"x": numpy.array([[0.5, 1000], [0.50002, 1000.2], [0.49999, 1000.15], [0.50003, 1000.05]], numpy.float32)}, {"y"})


CASES = {
    "sixteen bits, a scale below fp16's normal numbers": sixteen_bits(1.5e-5, 0),
    "sixteen bits around a zero point": sixteen_bits(3e-5, 32768),
    "sixteen bits, a scale that fp16 has": sixteen_bits(0.25, 0),
    "thresholds of trees": forest(),
    "a mask in eight bits": coded_mask(2.6794e36, "int8"),
    "a mask in eight bits, unsigned": coded_mask(1.3344e36, "uint8"),
}


def main():
    failed = 0
    for name, verdict in zip(CASES, trial.try_all(list(CASES.values()), "fp16")):
        if verdict:
            failed += 1
            print(f"{name}: {': '.join(verdict)}")
    print(f"{len(CASES)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
