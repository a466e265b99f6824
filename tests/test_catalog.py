"""The catalogue: dated, sourced, consistent with itself, and found by every name."""

import datetime
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
import yaml

from azdistill import assets, catalog, families
from azdistill.catalog import Model

MODELS = catalog.models()
TODAY = datetime.date(2026, 11, 23)


def test_every_model_is_asked_by_a_protocol_that_there_is() -> None:
    assert {model.api for model in MODELS} <= set(families.names(assets.protocols()))


def test_the_teachers_and_students_of_the_documentation_are_there() -> None:
    teachers = {
        *("deepseek-v3", "deepseek-v3.1", "deepseek-v3.2", "deepseek-r1", "llama-3.1-405b-instruct"),
        *("gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4.1", "gpt-5.1"),
        *("claude-3.5-sonnet", "claude-3.7-sonnet", "claude-sonnet-4", "claude-sonnet-4.5", "claude-sonnet-4.6"),
    }
    assert teachers <= set(catalog.known_names("teacher"))
    students = {"phi-4-mini", "phi-3-mini-4k", "phi-3-mini-128k", "phi-3.5-mini", "llama-3.1-8b"}
    assert students == set(catalog.known_names("student"))


def test_no_word_means_two_models() -> None:
    meant: dict[str, set[str]] = defaultdict(set)
    for model in MODELS:
        for word in filter(None, (model.name, *model.aliases, model.hub_id, model.served_as)):
            meant[word.lower()].add(model.name)
    assert len(meant) > len(MODELS)
    assert {word: names for word, names in meant.items() if len(names) > 1} == {}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_fact_is_dated_and_sourced(model: Model) -> None:
    facts = [model, model.terms, *model.hosting, *([model.price] if model.price else [])]
    assert all(fact.source and fact.as_of <= TODAY for fact in facts)


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a YAML document, however deep."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from mappings(child)


def test_no_licence_price_or_retirement_stands_in_the_file_without_its_page_and_day() -> None:
    document = yaml.safe_load(files("azdistill").joinpath("catalog.yml").read_text(encoding="utf-8"))
    claims = [
        mapping
        for mapping in mappings(document["models"])
        if any(mapping.get(key) is not None for key in ("licence", "input", "output", "until"))
    ]
    assert len(claims) > len(MODELS)
    for claim in claims:
        assert isinstance(claim.get("source"), str), claim
        assert len(claim["source"].split()) > 1, claim  # a title, not a placeholder
        assert not claim["source"].lower().startswith(("none", "unknown", "general")), claim
        assert type(claim.get("as_of")) is datetime.date, claim


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_page_can_have_known_what_it_is_named_for(model: Model) -> None:
    for place in model.hosting:
        if place.stage == "retired" and place.until:
            assert place.until <= place.as_of
        if place.stage in ("preview", "available") and place.until:
            assert place.until > place.as_of


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_replacements_and_suggestions_are_names_of_the_catalogue(model: Model) -> None:
    for name in [*model.suggestions, *(place.replacement for place in model.hosting if place.replacement)]:
        found = catalog.find(name)
        assert found is not None
        assert found.name == name


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_we_suggest_lives_and_what_is_gone_has_somewhere_to_go(model: Model) -> None:
    for name in model.suggestions:
        suggested = catalog.find(name)
        assert suggested is not None
        assert not any(place.ends_before(model.as_of) for place in suggested.hosting)
    gone = [place for place in model.hosting if place.ends_before(TODAY)]
    assert not gone or model.suggestions or all(place.replacement for place in gone)


@pytest.mark.parametrize("model", [model for model in MODELS if model.price], ids=lambda model: model.name)
def test_a_model_that_can_no_longer_be_called_has_no_price(model: Model) -> None:
    assert any(not place.ends_before(TODAY) for place in model.hosting)


def test_students_have_public_weights_and_sizes() -> None:
    students = [model for model in MODELS if "student" in model.roles]
    assert len(students) == 5
    assert all(model.hub_id and model.parameters and model.context_length for model in students)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("deepseek-v3", "deepseek-v3"),
        ("DeepSeek-V3", "deepseek-v3"),
        ("phi-4-mini", "phi-4-mini"),
        ("microsoft/Phi-4-mini-instruct", "phi-4-mini"),
        ("claude-sonnet-3.5", "claude-3.5-sonnet"),
        ("Meta-Llama-3.1-405B-Instruct", "llama-3.1-405b-instruct"),
    ],
)
def test_models_are_found_by_any_of_their_names(word: str, name: str) -> None:
    found = catalog.find(word)
    assert found is not None
    assert found.name == name


def test_an_unknown_model_is_not_found() -> None:
    assert catalog.find("my-own-model") is None


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        ("Meta-Llama-3-1-405B-Instruct-vkn", "llama-3.1-405b-instruct"),
        ("Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("Phi-3-mini-4k-instruct", "phi-3-mini-4k"),
        ("Phi-4-mini-instruct", "phi-4-mini"),
        ("DeepSeek-V3-0324", "deepseek-v3-0324"),
        ("gpt-4o", "gpt-4o"),
    ],
)
def test_names_of_azure_assets_and_connections_lead_to_models(asset: str, name: str) -> None:
    found = catalog.by_asset_name(asset)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("asset", ["gpt-4o-mini", "my-connection", "", "Phi-3"])
def test_a_name_that_only_begins_like_a_models_is_not_its(asset: str) -> None:
    assert catalog.by_asset_name(asset) is None


@pytest.mark.parametrize(
    ("endpoint", "where"),
    [
        (None, "azure"),
        ("https://x.westus3.models.ai.azure.com/chat/completions", "azure"),
        ("https://x.openai.azure.com/openai/v1", "azure"),
        ("https://x.services.ai.azure.com/openai/v1", "azure"),
        ("https://X.CognitiveServices.azure.com./openai/deployments/d/chat/completions", "azure"),
        ("https://eastus.api.cognitive.microsoft.com/openai/v1", "azure"),
        ("https://x.openai.azure.us/openai/v1", "azure"),
        # What `azdistill endpoint up` makes, a gateway, a site: the user's own, whoever owns the domain.
        ("https://x.westus.inference.ml.azure.com/v1", None),
        ("https://x.usgovarizona.inference.ml.azure.us/v1", None),
        ("https://gateway.azure-api.net/v1", None),
        ("https://vllm.eastus.cloudapp.azure.com/v1", None),
        ("https://azure.com.evil.example/v1", None),
        ("https://openai.azure.com.evil.example/v1", None),
        ("https://api.openai.com/v1", "openai"),
        ("http://127.0.0.1:8000/v1", None),
    ],
)
def test_an_endpoint_tells_who_hosts_the_model(endpoint: str | None, where: str | None) -> None:
    model = catalog.find("gpt-4o")
    assert model is not None
    hosting = model.hosted_at(endpoint)
    assert (hosting.where if hosting else None) == where


def test_a_placeholder_for_what_is_not_known_is_no_guess() -> None:
    turbo = catalog.find("gpt-4-turbo")
    assert turbo is not None
    assert (turbo.parameters, turbo.hosting[0].until, turbo.hosting[0].stage) == (None, None, "retired")
    assert turbo.hosting[0].ends_before(TODAY)
