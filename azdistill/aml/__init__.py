"""Azure ML YAML as typed models: reading, expressions, and every check that needs no network."""

from azdistill.aml.checks import check, examine
from azdistill.aml.loader import load, load_component, load_environment, load_pipeline, pipeline_from
from azdistill.aml.models import CommandComponent, Pipeline

__all__ = [
    "CommandComponent",
    "Pipeline",
    "check",
    "examine",
    "load",
    "load_component",
    "load_environment",
    "load_pipeline",
    "pipeline_from",
]
