"""Models and tokenizers: where they come from, checked before anything heavy is imported, and how they are loaded.

Code that comes with a model is never run, and weights are read from safetensors only.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.step import BadConfig, NoInput, Unavailable

from modelling import registered
from modelling.finite import check_weights

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_source(weights: str | Path | None, model_id: str | None, what: str) -> str | None:
    """The folder or hub id to load ``what`` from; None when neither is given. Raises NoInput, BadConfig."""
    if weights and model_id:
        raise BadConfig(f"the {what} is given twice: as weights ({weights}) and as an id ({model_id})")
    if weights:
        return check_folder(weights, what)
    if model_id and Path(model_id).exists():
        return check_folder(model_id, what)
    if model_id and (model_id.startswith((".", "/", "~")) or model_id.count("/") > 1):
        raise NoInput(f"the {what} '{model_id}' is neither a folder that exists nor a model's id")
    return model_id or None


def check_folder(folder: str | Path, what: str) -> str:
    """The folder of the weights, when ``folder`` holds a causal language model in safetensors. Raises NoInput.

    Models are taken as Hugging Face lays them out, and as MLflow does (in registries).
    """
    path = Path(folder)
    if not path.is_dir():
        raise NoInput(
            f"the {what} '{folder}' is not a model: " + ("it is a file" if path.exists() else "no such folder")
        )
    path = registered.weights_in(path) or path
    if not (path / "config.json").is_file():
        raise NoInput(f"the {what} '{folder}' is not a model: it holds no config.json")
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise NoInput(f"the {what} '{folder}' is not a model: its config.json cannot be read ({error})") from None
    if not isinstance(config, dict) or "model_type" not in config:
        raise NoInput(f"the {what} '{folder}' is not a model: its config.json names no model_type")
    if not any(path.glob("*.safetensors")):
        pickles = sorted(file.name for file in path.glob("*.bin"))
        detail = f"it holds {pickles[0]}, which is not read" if pickles else "it holds none"
        raise NoInput(f"the weights of the {what} '{folder}' are to be safetensors: {detail}")
    return str(path)


def load_tokenizer(source: str, revision: str | None = None, what: str = "model") -> Any:
    """The tokenizer of a model."""
    from transformers import AutoTokenizer

    place = str(registered.tokenizer_for(Path(source)) or source)
    with _explained(source, what):
        return AutoTokenizer.from_pretrained(place, revision=revision or "main", trust_remote_code=False)


def load_model(source: str, dtype: Any, device: str, *, revision: str | None = None, what: str = "model") -> Any:
    """A causal language model in evaluation mode on ``device``. ``dtype`` is torch's, or 'auto' for the stored one.

    Raises NotFinite where a weight is not a finite number.
    """
    from transformers import AutoModelForCausalLM

    options = {"dtype": dtype, "trust_remote_code": False, "use_safetensors": True, "output_loading_info": True}
    with _explained(source, what):
        model, loaded = AutoModelForCausalLM.from_pretrained(source, revision=revision or "main", **options)
    # Transformers makes up random numbers for these, and goes on.
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise NoInput(f"the {what} '{source}' lacks {len(missing)} of its tensors, the first is {missing[0]}")
    model = model.to(device).eval()
    check_weights(model, f"the {what} '{source}'")
    return model


@contextmanager
def _explained(source: str, what: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise NoInput(f"the {what} '{source}' cannot be loaded: its weights are damaged ({error})") from None
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise NoInput(f"the {what} '{source}' cannot be loaded: its weights do not fit its config.json") from None
    except (OSError, ValueError, KeyError, ImportError) as error:
        text = str(error).strip().split("\n")[0]
        if "trust_remote_code" in str(error):
            raise BadConfig(f"the {what} '{source}' needs code of its own, which is never run") from None
        if not Path(source).exists() and ("connect" in str(error).lower() or "offline" in str(error).lower()):
            raise Unavailable(f"the {what} '{source}' cannot be downloaded: {text}") from None
        raise NoInput(f"the {what} '{source}' cannot be loaded: {text}") from None


def choose_device(device: str = "auto") -> str:
    """``cuda`` where there is one, else ``cpu``; any other word is taken as it is. Raises BadConfig."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadConfig("device is cuda, but this machine has none")
    return device


def choose_dtype(dtype: str, device: str) -> Any:
    """The torch dtype of that name; ``auto`` is float32 on a CPU, bfloat16 (float16 on old GPUs) elsewhere."""
    import torch

    if dtype == "auto":
        if not device.startswith("cuda"):
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]


def eos_ids(model: Any) -> list[int]:
    """The end-of-sequence tokens that a model declares."""
    ids: list[int] = []
    for holder in (getattr(model, "generation_config", None), getattr(model, "config", None)):
        value = getattr(holder, "eos_token_id", None)
        ids += [value] if isinstance(value, int) else list(value or [])
    return ids


def weight_of(model: Any) -> tuple[int, int]:
    """Bytes and number of a model's parameters; tied ones count once."""
    parameters = list(model.parameters())
    return sum(p.numel() * p.element_size() for p in parameters), sum(p.numel() for p in parameters)


def quiet() -> None:
    """Silence the libraries' own bars and notices; the step's progress says what happens."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
