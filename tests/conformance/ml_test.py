"""Classifiers of ai.onnx.ml, each in a model of one node with an open batch: converted in fp32, run, and compared with ONNX Runtime."""
import pathlib
import sys

import numpy
from onnx import TensorProto, helper

sys.path.insert(0, str(pathlib.Path(__file__).parent / "random_models"))
import trial  # noqa: E402

rng = numpy.random.default_rng(0)
CASES = []
POST = ["NONE", "LOGISTIC", "SOFTMAX"]


def add(op, width, **attributes):
    node = helper.make_node(op, ["x"], ["label", "scores"], domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
                              [helper.make_tensor_value_info("label", TensorProto.INT64, None), helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    shown = {key: value for key, value in attributes.items() if not isinstance(value, list)}
    CASES.append((f"{op} {shown}", trial.Case(model, {"x": rng.normal(size=(9, width)).astype(numpy.float32)})))


def add_linear():
    for post in POST:
        add("LinearClassifier", 3, classlabels_ints=[4, 2, 7], coefficients=rng.normal(size=9).tolist(), intercepts=rng.normal(size=3).tolist(), post_transform=post)
        add("LinearClassifier", 3, classlabels_ints=[4, 2], coefficients=rng.normal(size=6).tolist(), intercepts=[0.1, -0.1], post_transform=post)
        if post != "SOFTMAX":
            add("LinearClassifier", 3, classlabels_ints=[4, 2], coefficients=rng.normal(size=3).tolist(), intercepts=[0.1], post_transform=post)


def stump(weights, ids, labels, post, whole=False, **more):
    """A tree that asks for one threshold after the other; `whole` leaves say something about every class."""
    lists = {key: [] for key in ["nodeids", "modes", "values", "truenodeids", "falsenodeids"]}

    def node(mode, value, yes, no):
        for key, item in zip(lists, [len(lists["nodeids"]), mode, value, yes, no]):
            lists[key].append(item)
        return len(lists["nodeids"]) - 1

    leaves = []
    for i, threshold in enumerate(numpy.linspace(-1.5, 1.5, len(weights) - 1)):
        node("BRANCH_LEQ", float(threshold), 2 * i + 1, 2 * i + 2)
        leaves.append(node("LEAF", 0.0, 0, 0))
    leaves.append(node("LEAF", 0.0, 0, 0))
    count = len(lists["nodeids"])
    if whole:
        ids, leaves, weights = list(range(len(labels))) * len(leaves), numpy.repeat(leaves, len(labels)).tolist(), rng.normal(size=len(leaves) * len(labels)).tolist()
    add("TreeEnsembleClassifier", 2, nodes_treeids=[0] * count, nodes_featureids=[1] * count, classlabels_int64s=labels, class_ids=ids, class_nodeids=leaves,
        class_treeids=[0] * len(leaves), class_weights=weights, post_transform=post, **{"nodes_" + key: value for key, value in lists.items()}, **more)


def add_trees():
    mixed, positive = [-2.0, -0.5, -0.1, 0.1, 0.6, 2.0], [0.05, 0.1, 0.3, 0.45, 0.8, 2.0]
    for weights in (mixed, positive):
        for post in POST:
            stump(weights, [0, 1, 2, 1, 0, 2], [5, 7, 9], post)
            stump(weights, [], [5, 7, 9], post, whole=True)
            stump(weights, [1] * 6, [5, 7], post)
            if post != "SOFTMAX":
                stump(weights, [0] * 6, [5, 7], post)
                stump(weights, [0] * 6, [5, 7], post, base_values=[0.2])


def main():
    add_linear()
    add_trees()
    failed = 0
    for (name, _), verdict in zip(CASES, trial.try_all([case for _, case in CASES])):
        if verdict:
            failed += 1
            print(f"{name}: {verdict[0]}: {verdict[1]}")
    print(f"{len(CASES)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
