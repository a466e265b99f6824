"""The architecture of a model, from the config.json that Hugging Face models carry."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from azdistill.catalog import Architecture, Precision
from azdistill.errors import UserError

_DTYPES: dict[str, Precision] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_METHODS: dict[str, Precision] = {"fp8": "fp8", "fbgemm_fp8": "fp8", "mxfp4": "mxfp4"}


def read_config(path: Path) -> Architecture:
    """The architecture in ``path``: a config.json, or a folder that holds one.

    UserError AZD471 where it cannot be read, or lacks what the arithmetic needs.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}", code="AZD471") from None
    if not isinstance(config, dict):
        raise UserError(f"{file} holds no JSON object", code="AZD471")
    # Models that see pictures keep the language model's numbers one level down.
    text = config.get("text_config")
    return _architecture({**config, **text} if isinstance(text, dict) else config, file)


def _architecture(config: dict[str, Any], file: Path) -> Architecture:
    names = ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size")
    missing = [name for name in names if not isinstance(config.get(name), int)]
    if missing:
        hint = "memory can be worked out for decoder models in the form of Hugging Face transformers"
        raise UserError(f"{file} does not say {', '.join(missing)}", code="AZD471", hint=hint)
    heads = config["num_attention_heads"]
    layers = config["num_hidden_layers"]
    latent = config.get("kv_lora_rank")
    window, sliding = _sliding(config, layers)
    try:
        return Architecture(
            layers=layers,
            attention_heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            hidden_size=config["hidden_size"],
            vocab_size=config["vocab_size"],
            precision=_precision(config),
            tied_embeddings=bool(config.get("tie_word_embeddings", False)),
            latent=latent + config.get("qk_rope_head_dim", 0) if latent else None,
            indexer=config.get("index_head_dim") or 0,
            sliding_window=window,
            sliding_layers=sliding,
            source=str(file),
            as_of=date.today(),
        )
    except (ValidationError, TypeError) as error:
        raise UserError(f"{file} holds numbers that make no sense: {error}", code="AZD471") from None


def _sliding(config: dict[str, Any], layers: int) -> tuple[int | None, int]:
    """The window, and how many layers have it: those that ``layer_types`` names, else all, unless it is turned off."""
    window = config.get("sliding_window")
    if not window or config.get("use_sliding_window") is False:
        return None, 0
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        count = sum(kind == "sliding_attention" for kind in kinds)
        return (window, count) if count else (None, 0)
    if config.get("model_type") == "gpt_oss":
        return window, layers // 2
    return window, layers


def _precision(config: dict[str, Any]) -> Precision:
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict):
        method = str(quantization.get("quant_method", "")).lower()
        if method in ("awq", "gptq", "compressed-tensors", "bitsandbytes"):
            bits = quantization.get("bits") or _compressed_bits(quantization)
            return cast(Precision, {4: "int4", 8: "int8"}.get(bits or 4, "int8"))
        if method in _METHODS:
            return _METHODS[method]
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16").removeprefix("torch.")
    return _DTYPES.get(dtype, "bf16")


def _compressed_bits(quantization: dict[str, Any]) -> int | None:
    if quantization.get("load_in_8bit"):
        return 8
    for group in (quantization.get("config_groups") or {}).values():
        bits = (group.get("weights") or {}).get("num_bits")
        if isinstance(bits, int):
            return bits
    return None
