"""What stands behind coremltools' MLModel in place of the framework: values, models, compute plans, and how they are put in."""
