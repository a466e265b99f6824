"""Memory of teachers: the published figures come out, and more load never takes less memory."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azdistill import catalog, sizing
from azdistill.catalog import Architecture
from azdistill.errors import UserError
from azdistill.sizing import GIB, Load, skus


def architecture(**changes: Any) -> Architecture:
    numbers = {
        "layers": 32,
        "attention_heads": 32,
        "kv_heads": 8,
        "head_dim": 128,
        "hidden_size": 4096,
        "vocab_size": 128256,
        "precision": "bf16",
        "source": "a test",
        "as_of": datetime.date(2026, 11, 23),
    }
    return Architecture(**{**numbers, **changes})


def teacher(name: str) -> Architecture:
    model = catalog.find(name)
    assert model is not None
    assert model.architecture is not None
    return model.architecture


def test_every_open_teacher_with_known_size_has_its_architecture_or_none_that_we_could_read() -> None:
    unknown = {m.name for m in catalog.models() if "teacher" in m.roles and m.hub_id and m.architecture is None}
    assert unknown == {"deepseek-v4-flash", "deepseek-v4-pro"}


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        ("llama-3.1-405b-instruct", 2 * 126 * 8 * 128 * 2),  # 504 KiB
        ("llama-3.3-70b-instruct", 320 * 1024),  # the figure of vLLM's and everybody's examples
        ("deepseek-v3", 61 * 576 * 2),  # 70,272 bytes: DeepSeek's own figure ("70 KB a token", ISCA 2025)
    ],
)
def test_a_token_takes_what_is_published(name: str, bytes_per_token: int) -> None:
    assert sizing.kv_bytes_per_token(teacher(name)) == bytes_per_token


def test_gpt_oss_keeps_half_its_layers_whole_and_a_window_of_the_others() -> None:
    model = teacher("gpt-oss-120b")
    layer = 2 * 8 * 64 * 2
    assert sizing.kv_bytes_per_sequence(model, 100) == 36 * 100 * layer
    assert sizing.kv_bytes_per_sequence(model, 10_000) == 18 * (10_000 + 128) * layer


@pytest.mark.parametrize(
    ("name", "gib"),
    [("deepseek-v3", (620, 640)), ("llama-3.3-70b-instruct", (130, 132)), ("gpt-oss-120b", (58, 62))],
)
def test_weights_take_what_the_checkpoints_take(name: str, gib: tuple[int, int]) -> None:
    model = catalog.find(name)
    assert model is not None
    assert model.parameters is not None
    shape = teacher(name)
    assert gib[0] < sizing.weight_bytes(model.parameters * 1e9, shape.precision, shape) / GIB < gib[1]


def test_four_bit_weights_take_a_little_more_than_a_quarter_of_sixteen() -> None:
    assert 0.25 < sizing.weight_bytes(1e9, "int4") / sizing.weight_bytes(1e9, "bf16") < 0.27
    # Embeddings stay in sixteen bits where they are known.
    assert sizing.weight_bytes(8e9, "int4", architecture()) > sizing.weight_bytes(8e9, "int4")


def test_kv_heads_are_divided_then_repeated() -> None:
    model = architecture()
    per_gpu = [sizing.kv_bytes_per_token(model, tensor_parallel=parts) for parts in (1, 2, 4, 8, 16)]
    assert per_gpu == [per_gpu[0], per_gpu[0] / 2, per_gpu[0] / 4, per_gpu[0] / 8, per_gpu[0] / 8]


def test_latent_attention_is_not_divided() -> None:
    model = teacher("deepseek-v3")
    assert sizing.kv_bytes_per_token(model, tensor_parallel=8) == sizing.kv_bytes_per_token(model)


@pytest.mark.parametrize(
    ("changes", "gpus", "parts"),
    [
        ({}, 8, 8),
        ({"attention_heads": 24}, 8, 8),
        ({"attention_heads": 28, "kv_heads": 4}, 8, 4),
        ({"attention_heads": 40, "kv_heads": 10}, 8, 5),
        ({"attention_heads": 7, "kv_heads": 7}, 4, 1),
        ({"attention_heads": 128, "latent": 576}, 8, 8),
    ],
)
def test_layers_are_divided_among_as_many_gpus_as_the_heads_allow(
    changes: dict[str, int], gpus: int, parts: int
) -> None:
    assert sizing.splits(architecture(**changes), gpus) == parts


loads = st.builds(Load, st.integers(1, 200_000), st.integers(1, 512), st.sampled_from(["auto", "fp8"]))
shapes = st.builds(
    architecture,
    layers=st.integers(1, 128),
    kv_heads=st.sampled_from([1, 2, 4, 8, 32]),
    sliding_window=st.none() | st.integers(1, 4096),
    sliding_layers=st.just(0),
    latent=st.none() | st.integers(64, 1024),
)


@given(shapes, loads, st.sampled_from([1, 2, 4, 8]), st.integers(1, 4))
def test_more_context_or_requests_never_take_less(shape: Architecture, load: Load, parts: int, stages: int) -> None:
    def total(one: Load) -> float:
        return sizing.need(shape, 1e9, one, tensor_parallel=parts, stages=stages, gpu_memory_gib=80).total

    assert total(load) <= total(Load(load.context + 1000, load.concurrency, load.kv_precision))
    assert total(load) <= total(Load(load.context, load.concurrency + 1, load.kv_precision))
    assert total(Load(load.context, load.concurrency, "fp8")) <= total(load)


@given(shapes, loads, st.floats(1e8, 1e12))
def test_what_is_picked_fits_and_a_lighter_load_costs_no_more(
    shape: Architecture, load: Load, parameters: float
) -> None:
    weights = sizing.weight_bytes(parameters, "bf16", shape)
    choice = sizing.choose(shape, weights, "bf16", load, skus.all_of(), most_stages=4)
    gpus = [sku for sku in skus.all_of() if sku.gpus]
    assert len(choice.fits) + len(choice.misfits) == len(gpus)
    for fit in choice.fits:
        assert fit.need.total <= fit.usable
        assert fit.requests * fit.replicas >= load.concurrency
        assert fit.tensor_parallel + fit.idle_gpus == fit.sku.gpus
    prices = [fit.price for fit in choice.fits if fit.price is not None]
    assert prices == sorted(prices)
    lighter = sizing.choose(shape, weights, "bf16", Load(max(1, load.context // 2), 1), skus.all_of(), most_stages=4)
    if prices:
        assert lighter.best is not None
        assert lighter.best.price is not None
        assert lighter.best.price <= prices[0]


@given(st.floats(1e8, 1e12), shapes)
def test_fewer_bits_never_take_more(parameters: float, shape: Architecture) -> None:
    sizes = [sizing.weight_bytes(parameters, p, shape) for p in ("fp32", "bf16", "fp8", "int4")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizing.weight_bytes(parameters, "mxfp4", shape) <= sizing.weight_bytes(parameters, "int8", shape)


def pick(name: str, load: Load, **options: Any) -> sizing.Choice:
    model = catalog.find(name)
    assert model is not None
    assert model.parameters is not None
    shape = teacher(name)
    weights = sizing.weight_bytes(model.parameters * 1e9, shape.precision, shape)
    return sizing.choose(shape, weights, shape.precision, load, skus.all_of(), **options)


def test_deepseek_v3_goes_where_its_developers_say_it_goes() -> None:
    # DeepSeek and SGLang: 8 x H200, or two machines of 8 x H100; one machine of 8 x 80 GB is too small.
    alone = pick("deepseek-v3", Load(8192, 64))
    assert [fit.sku.name for fit in alone.fits] == ["Standard_ND96isr_H200_v5"]
    reasons = {misfit.sku.name: misfit.reason for misfit in alone.misfits}
    assert "83.5 GiB of the 72.0 GiB" in reasons["Standard_ND96isr_H100_v5"]
    assert "one copy on one machine" in reasons["Standard_ND96isr_H100_v5"]
    assert "not for MI300X" in reasons["Standard_ND96isr_MI300X_v5"]
    assert "fp8 needs 8.0" in reasons["Standard_NC4as_T4_v3"]
    several = {fit.sku.name: fit.stages for fit in pick("deepseek-v3", Load(8192, 64), most_stages=4).fits}
    assert several["Standard_ND96isr_H100_v5"] == 2
    # Machines without InfiniBand share no model.
    assert "Standard_NC96ads_A100_v4" not in several


def test_the_cheapest_comes_first_and_an_own_price_changes_the_order() -> None:
    load = Load(8192, 32)
    best = pick("llama-3.3-70b-instruct", load).best
    assert best is not None
    assert best.sku.name == "Standard_NC96ads_A100_v4"
    model = catalog.find("llama-3.3-70b-instruct")
    assert model is not None
    assert model.parameters is not None
    shape = teacher(model.name)
    weights = sizing.weight_bytes(model.parameters * 1e9, "bf16", shape)
    own = skus.all_of({"Standard_ND96isr_H200_v5": 1.0})
    cheap = sizing.choose(shape, weights, "bf16", load, own).best
    assert cheap is not None
    assert (cheap.sku.name, cheap.price) == ("Standard_ND96isr_H200_v5", 1.0)


def test_requests_that_one_machine_does_not_hold_are_shared_among_replicas() -> None:
    one, many = pick("gpt-oss-120b", Load(8192, 8)).best, pick("gpt-oss-120b", Load(131072, 400)).best
    assert one is not None
    assert many is not None
    assert one.replicas == 1
    fits = {fit.sku.name: fit for fit in pick("gpt-oss-120b", Load(131072, 100)).fits}
    assert any(fit.replicas > 1 for fit in fits.values())


CONFIG = {
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
    "vocab_size": 152064,
    "torch_dtype": "bfloat16",
}


def read(folder: Path, **changes: Any) -> Architecture:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    return sizing.read_config(folder)


def test_a_config_is_read_as_transformers_means_it(tmp_path: Path) -> None:
    plain = read(tmp_path)
    assert (plain.layers, plain.kv_heads, plain.head_dim, plain.precision) == (28, 4, 128, "bf16")
    assert read(tmp_path, num_key_value_heads=None).kv_heads == 28
    assert read(tmp_path, head_dim=64).head_dim == 64
    assert read(tmp_path, kv_lora_rank=512, qk_rope_head_dim=64).latent == 576
    assert read(tmp_path, text_config={"num_hidden_layers": 4}).layers == 4


def test_sliding_windows_count_only_where_they_are_used(tmp_path: Path) -> None:
    assert read(tmp_path, sliding_window=4096, use_sliding_window=False).sliding_window is None
    assert read(tmp_path, sliding_window=4096).sliding_layers == 28
    kinds = ["sliding_attention", "full_attention"] * 14
    assert read(tmp_path, sliding_window=128, layer_types=kinds).sliding_layers == 14


@pytest.mark.parametrize(
    ("quantization", "precision"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 8}}}}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
    ],
)
def test_the_precision_of_a_quantised_checkpoint(tmp_path: Path, quantization: dict[str, Any], precision: str) -> None:
    assert read(tmp_path, quantization_config=quantization).precision == precision


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "cannot be read"), ("[]", "no JSON object"), ('{"hidden_size": 4}', "num_hidden_layers")],
)
def test_a_config_without_the_numbers_says_which(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        sizing.read_config(tmp_path)
    assert caught.value.code == "AZD471"


def test_the_sandbox_teacher_is_read() -> None:
    folder = Path(__file__).parents[1] / "examples" / "sandbox" / "teacher"
    config = json.loads((folder / "config.json").read_text())
    assert sizing.read_config(folder).layers == config["num_hidden_layers"]


def test_a_load_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no such load"):
        Load(0, 1)
