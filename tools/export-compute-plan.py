#!/usr/bin/env python3
"""On a Mac: writes where Core ML would run each operation of a package, for `pomona plan MODEL --measured plan.json`.

    python3 export-compute-plan.py model.mlpackage plan.json        needs macOS 14.4 and coremltools 8 or later
"""
import json
import sys

import coremltools as ct
from coremltools.models.compute_plan import MLComputePlan

plan = MLComputePlan.load_from_path(ct.utils.compile_model(sys.argv[1]), compute_units=ct.ComputeUnit.ALL)
operations = []
for function in plan.model_structure.program.functions.values():
    for operation in function.block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
        if usage is not None:
            operations.append({"op": operation.outputs[0].name, "type": operation.operator_name,
                               "preferred": type(usage.preferred_compute_device).__name__,
                               "supported": [type(device).__name__ for device in usage.supported_compute_devices],
                               "cost": cost.weight if cost else None})
with open(sys.argv[2], "w") as file:
    json.dump({"operations": operations}, file, indent=1)
