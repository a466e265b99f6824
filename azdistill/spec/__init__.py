"""Azure ML YAML as typed models: reading, expressions, and every check that needs no network."""

from azdistill.spec import expressions, quoting, values
from azdistill.spec.checks import check, examine
from azdistill.spec.loader import load, load_component, load_environment, load_pipeline, pipeline_from
from azdistill.spec.models import (
    AzureOnly,
    Binding,
    Choice,
    CommandComponent,
    Data,
    Environment,
    Input,
    Literal,
    Node,
    Output,
    Parallel,
    Pipeline,
    PipelineComponent,
    Settings,
    Spec,
    Step,
)

__all__ = [
    "AzureOnly",
    "Binding",
    "Choice",
    "CommandComponent",
    "Data",
    "Environment",
    "Input",
    "Literal",
    "Node",
    "Output",
    "Parallel",
    "Pipeline",
    "PipelineComponent",
    "Settings",
    "Spec",
    "Step",
    "check",
    "examine",
    "expressions",
    "load",
    "load_component",
    "load_environment",
    "load_pipeline",
    "pipeline_from",
    "quoting",
    "values",
]
