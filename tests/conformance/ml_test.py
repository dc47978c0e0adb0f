"""Classifiers of ai.onnx.ml, each in a model of one node with an open batch: converted in fp32, run, and compared with ONNX Runtime. Then pipelines that
end in a label in words or in a map of scores, which Core ML gives for one row.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
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


def add_forest(mode, targets, tracks, count=30):
    """Trees of random shapes down to ten decisions, of thirty too many leaves for matrices; the last one is a leaf."""
    lists = {name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true")}
    leaves = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}

    def grow(tree, counter, depth):
        own = counter[0]
        counter[0] += 1
        row = len(lists["nodeids"])
        is_leaf = depth == 10 or depth > 6 and rng.random() < 0.2 or tree == count - 1
        for name, value in zip(lists, (tree, own, int(rng.integers(4)), "LEAF" if is_leaf else mode, float(numpy.float32(rng.integers(-8, 8) / 4)), 0, 0, int(rng.integers(2)))):
            lists[name].append(value)
        if is_leaf:
            for target in range(targets):
                for name, value in zip(leaves, (tree, own, target, float(rng.normal()))):
                    leaves[name].append(value)
        else:
            lists["truenodeids"][row] = grow(tree, counter, depth + 1)
            lists["falsenodeids"][row] = grow(tree, counter, depth + 1)
        return own

    for tree in range(count):
        grow(tree, [0], 0)
    if not tracks:
        del lists["missing_value_tracks_true"]
    attributes = {f"nodes_{name}": values for name, values in lists.items()} | {f"target_{name}": values for name, values in leaves.items()}
    graph = helper.make_graph([helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=targets, **attributes)], "forest",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", targets])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    x = (rng.integers(-9, 9, (50, 4)) / 4).astype(numpy.float32)
    if tracks:
        x[rng.random(x.shape) < 0.1] = numpy.nan
    CASES.append((f"a forest of {mode}", trial.Case(model, {"x": x})))


def pipeline(labels, with_map):
    """As scikit-learn's models are exported."""
    words = isinstance(labels[0], str)
    kind = TensorProto.STRING if words else TensorProto.INT64
    nodes = [helper.make_node("LinearClassifier", ["x"], ["l", "p"], domain="ai.onnx.ml", coefficients=rng.normal(size=12).tolist(), intercepts=[0.1, 0.2, 0.3],
                              post_transform="LOGISTIC", **{"classlabels_strings" if words else "classlabels_ints": labels}),
             helper.make_node("Normalizer", ["p"], ["n" if with_map else "probabilities"], domain="ai.onnx.ml", norm="L1"), helper.make_node("Cast", ["l"], ["label"], to=kind)]
    outputs = [helper.make_tensor_value_info("label", kind, ["n"])]
    if with_map:
        nodes.append(helper.make_node("ZipMap", ["n"], ["probabilities"], domain="ai.onnx.ml", **{"classlabels_strings" if words else "classlabels_int64s": labels}))
        entry = helper.make_map_type_proto(kind, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        outputs.append(helper.make_value_info("probabilities", helper.make_sequence_type_proto(entry)))
    else:
        outputs.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3]))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)


def end_of(labels, with_map, folder):
    """What is wrong with a pipeline's answer, or None."""
    model = pipeline(labels, with_map)
    onnx.save(model, folder / "model.onnx")
    x = rng.normal(size=(1, 4)).astype(numpy.float32)
    numpy.savez(folder / "in.npz", x=x)
    label, probabilities = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    for words in (["convert", folder / "model.onnx", "-o", folder / "m.mlpackage", "--precision", "fp32", "--force"],
                  ["run", folder / "m.mlpackage", "--inputs", folder / "in.npz", "--outputs", folder / "out.json", "--force"]):
        done = subprocess.run([os.environ["POMONA_BINARY"], *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip().splitlines()[0]
    got = json.loads((folder / "out.json").read_text())
    if got["label"] not in (label[0], label.tolist()):
        return f"the label is {got['label']} instead of {label[0]}"
    want = {str(key): value for key, value in probabilities[0].items()} if with_map else probabilities.tolist()
    near = got["probabilities"].keys() == want.keys() and all(abs(got["probabilities"][k] - v) < 1e-5 for k, v in want.items()) if with_map \
        else numpy.allclose(got["probabilities"], want, atol=1e-5)
    return None if near else f"the scores are {got['probabilities']} instead of {want}"


def add_machines():
    for classes, counts in ((3, [2, 3, 2]), (2, [2, 3]), (4, [1, 2, 1, 2])):
        pairs = classes * (classes - 1) // 2
        for kernel in ("RBF", "LINEAR", "POLY", "SIGMOID"):
            for post in POST:
                labels = list(range(10, 10 + classes))
                drawn = {"classlabels_ints": labels, "kernel_type": kernel, "kernel_params": [0.4, 0.3, 2.0], "post_transform": post}
                vectors = {"support_vectors": rng.normal(size=sum(counts) * 3).tolist(), "vectors_per_class": counts, "rho": rng.normal(size=pairs).tolist()}
                for coefficients in (rng.normal(size=sum(counts) * (classes - 1)), rng.random(sum(counts) * (classes - 1))):
                    if classes > 2 or post != "SOFTMAX":
                        add("SVMClassifier", 3, coefficients=coefficients.tolist(), **drawn, **vectors)
                    add("SVMClassifier", 3, coefficients=coefficients.tolist(), prob_a=(-0.5 - rng.random(pairs)).tolist(), prob_b=rng.normal(size=pairs).tolist(), **drawn, **vectors)
        for post in POST if classes > 2 else []:
            add("SVMClassifier", 3, coefficients=rng.normal(size=classes * 3).tolist(), rho=[0.1], classlabels_ints=list(range(classes)), kernel_type="LINEAR", kernel_params=[0.0, 0.0, 3.0],
                post_transform=post)
    for one_class in (0, 1):
        add_regressor(one_class)


def add_regressor(one_class):
    node = helper.make_node("SVMRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=rng.normal(size=4).tolist(), kernel_params=[0.5, 0.0, 3.0], kernel_type="RBF", n_supports=4,
                            one_class=one_class, rho=[0.2], support_vectors=rng.normal(size=12).tolist())
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    CASES.append(("SVMRegressor", trial.Case(model, {"x": rng.normal(size=(9, 3)).astype(numpy.float32)})))


def main():
    add_linear()
    add_trees()
    add_machines()
    add_forest("BRANCH_LEQ", 1, False)
    add_forest("BRANCH_LT", 3, True)
    add_forest("BRANCH_GTE", 2, True, 3)
    failed = trial.failures(CASES)
    with tempfile.TemporaryDirectory() as folder:
        for labels in (["cat", "dog", "naïve fish"], [3, 5, 9]):
            for with_map in (True, False):
                if problem := end_of(labels, with_map, pathlib.Path(folder)):
                    failed += 1
                    print(f"{labels}{' with a map' if with_map else ''}: {problem}")
    print(f"{len(CASES)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
