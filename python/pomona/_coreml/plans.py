"""Compute plans and model structures: what a program consists of, and which device runs its ops. Here that is one: the CPU."""


class CPUDevice:
    """coremltools' _MLCPUComputeDeviceProxy."""


class GPUDevice:
    """coremltools' _MLGPUComputeDeviceProxy. There is none here."""


class NeuralEngineDevice:
    """coremltools' _MLNeuralEngineComputeDeviceProxy. There is none here."""

    def get_total_core_count(self):
        return 0


def devices():
    from coremltools.models.compute_device import MLCPUComputeDevice
    return [MLCPUComputeDevice(CPUDevice())]


class ComputePlan:
    """coremltools' _MLComputePlanProxy."""

    def __init__(self, structure=None):
        self._structure = structure

    @property
    def model_structure(self):
        return self._structure

    def get_compute_device_usage_for_mlprogram_operation(self, operation):
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage
        # As the framework has it, constants are nowhere computed.
        if operation.operator_name.rsplit(".", 1)[-1] == "const":
            return None
        device = devices()[0]
        return MLComputePlanDeviceUsage(device, [device])

    def get_compute_device_usage_for_neuralnetwork_layer(self, layer):
        return None

    def get_estimated_cost_for_mlprogram_operation(self, operation):
        return None


def plan_of(spec):
    return ComputePlan(structure_of(spec))


def structure_of(spec):
    from coremltools.models import compute_plan as ct
    if spec is None:
        raise RuntimeError("There is no model to describe")
    kind = spec.WhichOneof("Type")
    if kind == "mlProgram":
        return ct.MLModelStructure(neuralnetwork=None, program=_program(ct, spec.mlProgram), pipeline=None)
    if kind in ("pipeline", "pipelineClassifier", "pipelineRegressor"):
        inner = getattr(spec, kind)
        inner = inner if kind == "pipeline" else inner.pipeline
        members = [(name, structure_of(model)) for name, model in zip(inner.names, inner.models)]
        return ct.MLModelStructure(neuralnetwork=None, program=None, pipeline=ct.MLModelStructurePipeline(sub_models=members))
    if kind in ("neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor"):
        layers = [ct.MLModelStructureNeuralNetworkLayer(name=layer.name, type=layer.WhichOneof("layer"),
                                                        input_names=list(layer.input), output_names=list(layer.output),
                                                        __proxy__=None)
                  for layer in getattr(spec, kind).layers]
        return ct.MLModelStructure(neuralnetwork=ct.MLModelStructureNeuralNetwork(layers=layers), program=None, pipeline=None)
    raise RuntimeError(f"A model of kind {kind} has no structure to describe")


def _program(ct, program):
    functions = {}
    for name, function in program.functions.items():
        block = function.block_specializations[function.opset]
        functions[name] = ct.MLModelStructureProgramFunction(inputs=_named(ct, function.inputs),
                                                             block=_block(ct, block, _opset(function.opset)))
    return ct.MLModelStructureProgram(functions=functions)


def _opset(name):
    return "ios" + name.removeprefix("CoreML") if not name.startswith("CoreML") else _OPSETS.get(name, name.lower())


_OPSETS = {"CoreML5": "ios15", "CoreML6": "ios16", "CoreML7": "ios17", "CoreML8": "ios18", "CoreML9": "ios26"}


def _named(ct, values):
    return [ct.MLModelStructureProgramNamedValueType(name=value.name, type=ct.MLModelStructureProgramValueType())
            for value in values]


def _block(ct, block, opset):
    return ct.MLModelStructureProgramBlock(inputs=_named(ct, block.inputs), output_names=list(block.outputs),
                                           operations=[_operation(ct, each, opset) for each in block.operations])


def _operation(ct, operation, opset):
    # The framework spells ops with the operator set they are of, except for constants.
    name = operation.type if operation.type == "const" else f"{opset}.{operation.type}"
    inputs = {key: _argument(ct, argument) for key, argument in operation.inputs.items()}
    return ct.MLModelStructureProgramOperation(inputs=inputs, operator_name=name, outputs=_named(ct, operation.outputs),
                                               blocks=[_block(ct, each, opset) for each in operation.blocks], __proxy__=None)


def _argument(ct, argument):
    bindings = []
    for binding in argument.arguments:
        if binding.WhichOneof("binding") == "name":
            bindings.append(ct.MLModelStructureProgramBinding(name=binding.name, value=None))
        else:
            bindings.append(ct.MLModelStructureProgramBinding(name=None, value=ct.MLModelStructureProgramValue()))
    return ct.MLModelStructureProgramArgument(bindings=bindings)
