"""Azure ML YAML as typed models: reading, expressions, and every check that needs no network."""

from azdistill.aml import expressions, quoting, values
from azdistill.aml.checks import check, examine
from azdistill.aml.loader import load, load_component, load_environment, load_pipeline, pipeline_from
from azdistill.aml.models import (
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
