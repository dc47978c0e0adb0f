"""Compute plans and model structures: what a program consists of, and which device runs its ops. Here that is one: the CPU.

Costs are not measured: an op's is its share of the bytes that all ops write.
"""


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

    def __init__(self, structure=None, bytes_touched=None):
        self._structure = structure
        self._bytes = bytes_touched or {}
        self._total = sum(self._bytes.values())

    @property
    def model_structure(self):
        return self._structure

    def get_compute_device_usage_for_mlprogram_operation(self, operation):
        # As the framework has it, constants are nowhere computed.
        return None if operation.operator_name == "const" else self._on_cpu()

    def get_compute_device_usage_for_neuralnetwork_layer(self, layer):
        return self._on_cpu()

    def get_estimated_cost_for_mlprogram_operation(self, operation):
        """The op's share of the bytes that the function's ops write; None for what is no op of the program."""
        from coremltools.models.compute_plan import MLComputePlanCost
        bytes_written = self._bytes.get(operation.outputs[0].name if operation.outputs else None)
        return MLComputePlanCost(weight=bytes_written / self._total) if bytes_written is not None and self._total else None

    @staticmethod
    def _on_cpu():
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage
        device = devices()[0]
        return MLComputePlanDeviceUsage(device, [device])


def plan_of(spec):
    return ComputePlan(structure_of(spec), _bytes_written(spec) if spec.WhichOneof("Type") == "mlProgram" else None)


_BYTES = {"BOOL": 1, "INT8": 1, "UINT8": 1, "FLOAT16": 2, "BFLOAT16": 2, "INT16": 2, "UINT16": 2, "FLOAT64": 8, "INT64": 8, "UINT64": 8}


def _bytes_written(spec):
    """By the name of an op's first result."""
    found = {}
    for function in spec.mlProgram.functions.values():
        for operation in function.block_specializations[function.opset].operations:
            if operation.type == "const" or not operation.outputs:
                continue
            total = 0
            for output in operation.outputs:
                tensor = output.type.tensorType
                count = 1
                for dimension in tensor.dimensions:
                    count *= dimension.constant.size if dimension.HasField("constant") else 1
                total += count * _BYTES.get(type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number[
                    tensor.dataType].name, 4)
            found[operation.outputs[0].name] = total
    return found


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
                                                             block=_block(ct, block))
    return ct.MLModelStructureProgram(functions=functions)


def _named(ct, values):
    return [ct.MLModelStructureProgramNamedValueType(name=value.name, type=ct.MLModelStructureProgramValueType())
            for value in values]


def _block(ct, block):
    return ct.MLModelStructureProgramBlock(inputs=_named(ct, block.inputs), output_names=list(block.outputs),
                                           operations=[_operation(ct, each) for each in block.operations])


def _operation(ct, operation):
    inputs = {key: _argument(ct, argument) for key, argument in operation.inputs.items()}
    return ct.MLModelStructureProgramOperation(inputs=inputs, operator_name=operation.type, outputs=_named(ct, operation.outputs),
                                               blocks=[_block(ct, each) for each in operation.blocks], __proxy__=None)


def _argument(ct, argument):
    bindings = []
    for binding in argument.arguments:
        if binding.WhichOneof("binding") == "name":
            bindings.append(ct.MLModelStructureProgramBinding(name=binding.name, value=None))
        else:
            bindings.append(ct.MLModelStructureProgramBinding(name=None, value=ct.MLModelStructureProgramValue()))
    return ct.MLModelStructureProgramArgument(bindings=bindings)
