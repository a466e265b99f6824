"""Register the distilled model with its lineage, and the rows it learnt from, each under the hash of what it holds."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

from common import arguments, strict_json
from common.step import StepError, Unavailable, run_step, say
from common.tasks import get_task
from data_assets import DataAsset, keep, register
from lineage import NOT_BETTER, is_better, measured, provenance, read_comparison
from model_layout import digest_of, lay_out

#: The tag that tells whether a version holds the same model.
DIGEST = "azdistill.model_sha256"
#: Where in the run the model's files lie.
ARTIFACTS = "model"


def main() -> None:
    """Keep the rows, register them where there is a workspace, then the model."""
    args = arguments.of(__file__)
    args.task = get_task(args.task_type).name
    digest = digest_of(Path(args.model))
    assets = keep_rows(args)
    origin = provenance(args, assets)
    register(assets, origin)
    comparison = read_comparison(args.report) or {}
    tags = origin | measured(comparison)
    registered = register_model(args, {DIGEST: digest, **tags}, is_better(comparison))
    if NOT_BETTER in tags:
        say(f"{args.model_name} is not better than the student as it was; the tag {NOT_BETTER} says so")
    result = {
        "model_name": args.model_name,
        **registered,
        "tags": {DIGEST: digest, **tags},
        "data_assets": [asset.as_json() for asset in assets],
    }
    Path(args.registration).write_text(strict_json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def keep_rows(args: Namespace) -> list[DataAsset]:
    """The rows in the standing folder, by their hash."""
    student = args.model_name.removesuffix("-distilled")
    folders = {"curated": args.curated, "teacher-rows": args.teacher_rows}
    folder = Path(args.assets)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.txt").write_text("Rows that models learnt from, by the sha256 of the file.\n", encoding="utf-8")
    return [keep(f"{student}-{kind}", Path(path), folder, args.assets_uri) for kind, path in folders.items() if path]


def register_model(args: Namespace, tags: dict[str, str], better: bool | None) -> dict[str, Any]:
    """The version that holds this model: a new one, or the one that is there already.

    ``better``: than the student as it was, for one that is there already; None where they were not compared.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not os.environ.get("MLFLOW_TRACKING_URI") or not run_id:
        why = _unregistered(os.environ.get("MLFLOW_TRACKING_URI", ""))
        say(f"{args.model_name} is not registered: {why}")
        return {"registered": False, "version": None, "reason": why}
    # Both print what they do, and what they think of the Python they run on.
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        import mlflow
    except ImportError as error:
        raise StepError(f"mlflow cannot be imported: {error}") from None
    try:
        return _register(mlflow, args, run_id, tags, better)
    except (mlflow.MlflowException, OSError) as error:
        raise Unavailable(f"the model cannot be registered: {str(error).strip().splitlines()[0]}") from None


def _unregistered(uri: str) -> str:
    """Why there is no run to register a model with."""
    if not uri:
        return "nothing is tracked (--no-tracking)"
    # What the runner gives a container that cannot see this machine's store: files of its own.
    if uri.startswith("file:"):
        return "MLflow's store is not seen from here; a container needs a server (MLFLOW_TRACKING_URI=http://...)"
    return "MLflow is absent"


def _register(mlflow: Any, args: Namespace, run_id: str, tags: dict[str, str], better: bool | None) -> dict[str, Any]:
    client = mlflow.MlflowClient()
    versions = client.search_model_versions(f"name='{args.model_name}'")
    for version in sorted(versions, key=lambda one: int(one.version), reverse=True):
        if version.tags.get(DIGEST) == tags[DIGEST]:
            say(f"{args.model_name} is registered already, as version {version.version}")
            if better is False:
                client.set_model_version_tag(args.model_name, version.version, NOT_BETTER, "true")
            elif better and NOT_BETTER in version.tags:
                client.delete_model_version_tag(args.model_name, version.version, NOT_BETTER)
            return {"registered": True, "version": str(version.version), "new": False}
    with tempfile.TemporaryDirectory(prefix="azdistill-model-") as folder:
        about = {"model": args.model_name, "task_type": args.task}
        lay_out(Path(args.model), Path(folder, ARTIFACTS), mlflow.__version__, about)
        client.log_artifacts(run_id, str(Path(folder, ARTIFACTS)), ARTIFACTS)
    try:
        client.create_registered_model(args.model_name)
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise
    # Not log_model, nor register_model("runs:/..."): both ask for the logged models of MLflow 3, an API that Azure ML's
    # server does not have.
    source = f"{client.get_run(run_id).info.artifact_uri.rstrip('/')}/{ARTIFACTS}"
    model_version = client.create_model_version(args.model_name, source, run_id, tags=tags)
    say(f"registered {args.model_name}, version {model_version.version}")
    return {"registered": True, "version": str(model_version.version), "new": True}


if __name__ == "__main__":
    run_step(main)
