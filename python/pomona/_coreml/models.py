"""The classes that coremltools expects of its native module: models, states and assets."""

import os
import shutil
import tempfile
import time
import weakref

from .. import _native
from .._errors import Error
from .values import giver, numpy_dtype, refusal, taker

# The newest specification version of coremltools 9.0 (iOS 26, macOS 26).
NEWEST_SPECIFICATION = 10
_COMPUTE_UNITS = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")
_PIPELINES = {"pipeline": lambda spec: spec.pipeline, "pipelineClassifier": lambda spec: spec.pipelineClassifier.pipeline,
              "pipelineRegressor": lambda spec: spec.pipelineRegressor.pipeline}


class State:
    """The contents of a model's states between predictions."""

    def __init__(self, native):
        self._native = native

    def read_state(self, name):
        try:
            return self._native.read(name, wide=True)
        except Error as error:
            raise refusal(str(error)) from None

    def write_state(self, name, value):
        if not hasattr(value, "__array__") and not hasattr(value, "__buffer__") and not isinstance(value, (list, tuple)):
            raise RuntimeError("Failed to write state, only multi-array value is supported")
        try:
            self._native.write(name, value)
        except Error as error:
            raise refusal(str(error)) from None


class _Program:
    """One function of an ML Program: values in, values out."""

    def __init__(self, path, function):
        self._model = _native.open_model(path)
        names = [each["name"] for each in self._model.functions()]
        chosen = function or self._model.default_function
        if chosen not in names:
            raise Error(f"there is no function '{chosen}'; there is {', '.join(names)}")
        facts = next(each for each in self._model.functions() if each["name"] == chosen)
        self._runner = _native.Runner(self._model, chosen)
        self._takers = {each["name"]: taker(each) for each in facts["inputs"]}
        self._givers = {each["name"]: giver(each) for each in facts["outputs"]}
        self.stateful = bool(facts["states"])
        self.half = "fp16" in facts["dtypes"]
        self.input_names = list(self._takers)

    def predict(self, data, state=None):
        given = {}
        for name, each in self._takers.items():
            value = data.get(name)
            given[name] = each.missing() if value is None else each.take(value)
        if len(data) > len(given):
            unknown = next(name for name in data if name not in self._takers)
            raise refusal(f"Feature {unknown} is not an input of the model")
        if self.stateful and state is None:
            raise refusal("The model has states: a prediction needs a state made by make_state()")
        found = self._runner.run(given, state._native if state is not None else None, border=False, wide=True)
        return {name: give(found[name]) for name, give in self._givers.items()}

    def make_state(self):
        return State(self._runner.make_state())

    def text(self):
        return self._model.compiled_text()


class _Pipeline:
    """Models one after another; each takes what it needs of the inputs and of what those before it gave."""

    stateful = False

    def __init__(self, path, spec):
        self._members = []
        self._collect(path, spec, "")
        self._outputs = [feature.name for feature in spec.description.output]
        self._inputs = {feature.name: feature.type for feature in spec.description.input}
        self._required = [feature.name for feature in spec.description.input if not feature.type.isOptional]

    def _collect(self, path, spec, prefix):
        inner = _PIPELINES[spec.WhichOneof("Type")](spec)
        for i, member in enumerate(inner.models):
            name = prefix + (inner.names[i] if i < len(inner.names) else f"model{i}")
            if member.WhichOneof("Type") in _PIPELINES:
                self._collect(path, member, name + "/")
            else:
                self._members.append(_Program(f"{path}#{name}", ""))

    def predict(self, data, state=None):
        values = dict(data)
        for name in self._required:
            if values.get(name) is None:
                raise refusal(f"Required input feature not passed to the model: {name}")
        for member in self._members:
            values.update(member.predict({name: values[name] for name in member.input_names if name in values}))
        missing = [name for name in self._outputs if name not in values]
        if missing:
            raise refusal(f"No model of the pipeline gives its output {missing[0]}")
        return {name: values[name] for name in self._outputs}

    def make_state(self):
        raise refusal("A pipeline has no states")


class _Refusing:
    """A model of a kind that is not run here: loads, and says so when it is asked."""

    stateful = False

    def __init__(self, reason):
        self._reason = reason

    def predict(self, data, state=None):
        raise RuntimeError(f"Predictions are made here for ML Programs and pipelines of them only: {self._reason}")

    def make_state(self):
        raise RuntimeError(self._reason)


def _is_kind_we_refuse(spec):
    """Whether a model, or one that a pipeline has, is something other than an ML Program."""
    kind = spec.WhichOneof("Type")
    if kind in _PIPELINES:
        return any(_is_kind_we_refuse(member) for member in _PIPELINES[kind](spec).models)
    return kind is not None and kind != "mlProgram"


def _open(path, function):
    try:
        return _Program(path, function)
    except Error as error:
        # Only then is it worth reading the specification a second time.
        reason = error
    spec = _read_specification(path)
    if spec is not None and _is_kind_we_refuse(spec):
        return _Refusing(reason.message)
    if spec is not None and spec.WhichOneof("Type") in _PIPELINES:
        return _Pipeline(path, spec)
    raise reason


def _specification_file(path):
    if not os.path.isdir(path):
        return path
    from coremltools.models.utils import _get_model_spec_path
    return _get_model_spec_path(path)


def _read_specification(path):
    from coremltools import proto
    try:
        with open(_specification_file(path), "rb") as file:
            spec = proto.Model_pb2.Model()
            spec.ParseFromString(file.read())
        return spec
    except Exception:  # protobuf's and the package reader's errors have no common class
        return None


def compiled_copy(path, folder):
    """A folder ending in .mlmodelc that the same model can be loaded from. Nothing is compiled before it is run."""
    name = os.path.splitext(os.path.basename(path.rstrip("/")))[0] + ".mlmodelc"
    target = os.path.join(folder, name)
    if os.path.isdir(path):
        shutil.copytree(path, target)
    else:
        os.mkdir(target)
        shutil.copyfile(path, os.path.join(target, "model.mlmodel"))
    return target


def loadable(path):
    """Where the model of a path is: a compiled copy of a plain file holds that file."""
    path = path.rstrip("/")
    if path.endswith(".mlmodelc"):
        inside = os.path.join(path, "model.mlmodel")
        if os.path.exists(inside):
            return inside
        if os.path.exists(os.path.join(path, "coremldata.bin")):
            raise RuntimeError(f"'{path}' was compiled on a Mac; compiled models are not read, their packages are")
    return path


class Asset:
    """A model that is loaded later: a path, or bytes in memory."""

    def __init__(self, path, keep=None):
        self.path = path
        self._keep = keep


class _Folder:
    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="pomona-")
        self._end = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class Model:
    """coremltools' _MLModelProxy."""

    def __init__(self, path, compute_units, function_name="", optimization_hints=None, asset=None):
        begin = time.perf_counter_ns()
        if asset is not None:
            path = asset.path
            self._asset = asset
        if compute_units not in _COMPUTE_UNITS:
            raise RuntimeError(f"There are no compute units '{compute_units}'")
        self._path = os.path.abspath(path)
        self._compiled = self._path if self._path.endswith(".mlmodelc") else None
        # A plain file may be gone as soon as it is loaded.
        if self._compiled is None and not os.path.isdir(self._path):
            self._folder = _Folder()
            try:
                self._path = self._compiled = compiled_copy(self._path, self._folder.path)
            except OSError as error:
                raise RuntimeError(f'Error compiling model: "{error}".') from None
        try:
            self._model = _open(loadable(self._path), function_name)
        except Error as error:
            raise RuntimeError(f'Error compiling model: "{error}".') from None
        self._load_duration = time.perf_counter_ns() - begin
        self._last_duration = None

    def _predict(self, data, state):
        try:
            return self._model.predict(data, state)
        except Error as error:  # with the framework's words before ours: callers look for them
            raise refusal(f"Unable to compute the prediction using ML Program. {error}") from None

    def predict(self, data, state=None):
        begin = time.perf_counter_ns()
        result = self._predict(data, state)
        self._last_duration = time.perf_counter_ns() - begin
        return result

    def batchPredict(self, batch):
        begin = time.perf_counter_ns()
        if self._model.stateful:
            raise refusal("The model has states, which a batch of predictions cannot share")
        results = [self._predict(data, None) for data in batch]
        self._last_duration = time.perf_counter_ns() - begin
        return results

    def newState(self):
        return self._model.make_state()

    def get_compiled_model_path(self):
        if self._compiled is None:
            self._folder = _Folder()
            self._compiled = compiled_copy(self._path, self._folder.path)
            # The framework leaves the program there as text; some read it.
            if isinstance(self._model, _Program):
                with open(os.path.join(self._compiled, "model.mil"), "w") as file:
                    file.write(self._model.text())
        return self._compiled

    def get_load_duration_in_nano_seconds(self):
        return self._load_duration

    def get_last_predict_duration_in_nano_seconds(self):
        return self._last_duration

    @staticmethod
    def maximum_supported_specification_version():
        return NEWEST_SPECIFICATION

    @staticmethod
    def auto_set_specification_version(spec):
        from .versions import lowest_version
        return lowest_version(spec)

    @staticmethod
    def compileModel(path):
        path = os.path.abspath(path)
        try:
            _open(path, "")
        except Error as error:
            raise RuntimeError(f'Error compiling model: "{error}".') from None
        return compiled_copy(path, tempfile.mkdtemp(prefix="pomona-"))

    @staticmethod
    def create_model_asset_from_path(path):
        from coremltools.models.model import MLModelAsset
        if not os.path.isdir(path):
            raise RuntimeError(f"There is no compiled model '{path}'")
        return MLModelAsset(Asset(path))

    @staticmethod
    def create_model_asset_from_memory(spec_data, blob_mapping):
        from coremltools.models.model import MLModelAsset
        folder = _Folder()
        return MLModelAsset(Asset(_package_of(spec_data, blob_mapping, folder.path), folder))

    @staticmethod
    def get_model_structure(compiled_path):
        from .plans import structure_of
        return structure_of(_read_specification(loadable(compiled_path)))

    @staticmethod
    def get_compute_plan(compiled_path, compute_units):
        from coremltools.models.compute_plan import MLComputePlan
        from .plans import plan_of
        return MLComputePlan(plan_of(_read_specification(loadable(compiled_path))))

    @staticmethod
    def get_available_compute_devices():
        from .plans import devices
        return devices()

    get_all_compute_devices = get_available_compute_devices


def _package_of(spec_data, blob_mapping, folder):
    """A package of a specification and its weight files, which values name as @model_path/weights/NAME."""
    import json
    data = os.path.join(folder, "asset.mlmodelc", "Data", "com.apple.CoreML")
    os.makedirs(os.path.join(data, "weights"))
    with open(os.path.join(data, "model.mlmodel"), "wb") as file:
        file.write(spec_data)
    for name, contents in blob_mapping.items():
        inside = os.path.normpath(name.replace("@model_path/", ""))
        if inside.startswith(("..", "/")):
            raise RuntimeError(f"a weight file cannot be outside of the model: '{name}'")
        place = os.path.join(data, inside if os.sep in inside else os.path.join("weights", inside))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(contents)
    items = {"model": {"author": "com.apple.CoreML", "description": "CoreML Model Specification", "name": "model.mlmodel",
                       "path": "com.apple.CoreML/model.mlmodel"},
             "weights": {"author": "com.apple.CoreML", "description": "CoreML Model Weights", "name": "weights",
                         "path": "com.apple.CoreML/weights"}}
    package = os.path.join(folder, "asset.mlmodelc")
    with open(os.path.join(package, "Manifest.json"), "w") as file:
        json.dump({"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": "model"}, file)
    return package
