"""A model folder laid out as MLflow's ``transformers`` flavour: what ``mlflow.transformers.load_model`` reads.

Written by hand, since saving a model through the library loads its weights, which needs torch and as much memory as the
model. The weights are linked, not copied.
"""

from __future__ import annotations

import json
import platform
import uuid
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from common import strict_json
from common.step import NoInput

#: Files that belong to the tokenizer rather than to the model, by how their names begin.
_TOKENIZER = ("tokenizer", "special_tokens", "added_tokens", "chat_template", "vocab", "merges", "spiece", "processor")
_BLOCK = 1 << 20


def lay_out(model: Path, target: Path, version: str, metadata: dict[str, str]) -> None:
    """Write the MLflow model of the folder ``model`` into ``target``; ``version`` is MLflow's. Raises NoInput."""
    config = _json(model / "config.json")
    (target / "model").mkdir(parents=True)
    (target / "components" / "tokenizer").mkdir(parents=True)
    for file in files_of(model):
        name = file.relative_to(model)
        place = target / ("components/tokenizer" if name.name.startswith(_TOKENIZER) else "model") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file.resolve())
    needs = _requirements(config, version)
    (target / "requirements.txt").write_text("\n".join(needs) + "\n", encoding="utf-8")
    _yaml(target / "python_env.yaml", _python_env())
    _yaml(target / "conda.yaml", _conda(needs))
    _yaml(target / "MLmodel", _description(model, config, version, metadata))


def files_of(model: Path) -> list[Path]:
    """The files of a model folder, in order. Raises NoInput where it is none."""
    if not (model / "config.json").is_file():
        raise NoInput(f"{model} is not a model: it holds no config.json")
    return sorted(path for path in model.rglob("*") if path.is_file())


def digest_of(model: Path) -> str:
    """sha256 over names and contents: the same model has the same one, wherever it lies."""
    total = sha256()
    for path in files_of(model):
        file_digest = sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                file_digest.update(block)
        total.update(f"{path.relative_to(model).as_posix()}\0{file_digest.hexdigest()}\n".encode())
    return total.hexdigest()


def _description(model: Path, config: dict[str, Any], version: str, metadata: dict[str, str]) -> dict[str, Any]:
    tokenizer = _json(model / "tokenizer_config.json") if (model / "tokenizer_config.json").is_file() else {}
    environment = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    function = {"env": environment, "loader_module": "mlflow.transformers", "python_version": platform.python_version()}
    transformers = {
        "code": None,
        "components": ["tokenizer"],
        "inference_task": "llm/v1/chat",
        "instance_type": "TextGenerationPipeline",
        "model_binary": "model",
        "pipeline_model_type": (config.get("architectures") or ["AutoModelForCausalLM"])[0],
        "source_model_name": metadata.get("model", model.name),
        "task": "text-generation",
        "tokenizer_type": tokenizer.get("tokenizer_class") or "PreTrainedTokenizerFast",
        "torch_dtype": f"torch.{config.get('dtype') or config.get('torch_dtype') or 'float32'}",
        "transformers_version": config.get("transformers_version"),
    }
    return {
        "flavors": {"python_function": function, "transformers": transformers},
        "metadata": {"task": "llm/v1/chat", **metadata},
        "mlflow_version": version,
        "model_size_bytes": sum(path.stat().st_size for path in files_of(model)),
        "model_uuid": uuid.uuid4().hex,
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }


def _requirements(config: dict[str, Any], version: str) -> list[str]:
    transformers = config.get("transformers_version")
    return [f"mlflow=={version}", f"transformers=={transformers}" if transformers else "transformers", "torch"]


def _python_env() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }


def _conda(needs: list[str]) -> dict[str, Any]:
    dependencies = [f"python={platform.python_version()}", "pip", {"pip": needs}]
    return {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": dependencies}


def _yaml(path: Path, value: dict[str, Any]) -> None:
    # JSON is YAML.
    path.write_text(strict_json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoInput(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise NoInput(f"{path} holds no JSON object")
    return content
