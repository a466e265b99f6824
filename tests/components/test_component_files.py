"""Every component and environment is one that azure-ai-ml accepts and that its code agrees with."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest
import yaml
from snapshots import COMPONENTS, FOLDERS, ROOT

FILES = sorted(COMPONENTS.glob("*/*/component.yml"))
ENVIRONMENTS = sorted((ROOT / "environments").glob("*/environment.yml"))
NAMES = [path.parent.name for path in FILES]


def spec_of(path):
    return yaml.safe_load(path.read_text())


def command_of(spec):
    """The command, or what a parallel component's script is fed with and given as arguments."""
    task = spec.get("task")
    return f"{spec['input_data']} {task['program_arguments']}".strip() if task else spec["command"].strip()


def test_there_are_components_and_environments_to_check():
    assert {"prepare_data", "teacher_inference", "curate"} <= set(NAMES)
    assert {path.parent.name for path in ENVIRONMENTS} >= {"data", "train"}


@pytest.fixture(scope="module")
def loaded():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from azure.ai.ml import load_component

        return {path.parent.name: load_component(path) for path in FILES}


@pytest.mark.parametrize("name", NAMES)
def test_azure_ai_ml_loads_and_serialises_it(loaded, name):
    component = loaded[name]
    assert component._validate().passed, component._validate().error_messages
    sent = component._to_rest_object().properties.component_spec
    environment = sent["task"]["environment"] if sent["type"] == "parallel" else sent["environment"]
    assert Path(environment["build"]["path"]).joinpath("Dockerfile").is_file()
    assert sent["type"] == "parallel" or sent["command"].startswith("python ")
    assert sent["name"] == name


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_command_is_one_line_with_every_input_and_output_used_once(path):
    spec = spec_of(path)
    command = command_of(spec)
    assert "\n" not in command
    used = Counter(re.findall(r"\$\{\{(?:in|out)puts\.(\w+)\}\}", command))
    assert used == Counter([*spec.get("inputs", {}), *spec["outputs"]])


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_texts_are_quoted_and_optional_inputs_stand_in_brackets(path):
    spec = spec_of(path)
    bracketed = set(re.findall(r"inputs\.(\w+)", " ".join(re.findall(r"\$\[\[(.*?)\]\]", command_of(spec)))))
    assert bracketed == {name for name, value in spec.get("inputs", {}).items() if value.get("optional")}
    for kind in ("inputs", "outputs"):
        for name, value in spec.get(kind, {}).items():
            fed = f"${{{{{kind}.{name}}}}}" == spec.get("input_data")
            if value["type"] not in ("number", "integer", "boolean") and not fed:
                assert f"'${{{{{kind}.{name}}}}}'" in command_of(spec), f"{name} is not quoted"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_defaults_keep_their_own_limits(path):
    for name, value in spec_of(path).get("inputs", {}).items():
        if "default" in value and "enum" in value:
            assert value["default"] in value["enum"], name
        if "default" in value and "min" in value:
            assert value["min"] <= value["default"] <= value.get("max", float("inf")), name


def test_module_names_are_unique_across_components():
    names = Counter(path.stem for folder in FILES for path in folder.parent.glob("*.py"))
    names.update(["common", "modelling"])
    assert [name for name, count in names.items() if count > 1] == []


def test_components_import_nothing_of_the_orchestrator():
    files = list(COMPONENTS.rglob("*.py"))
    assert len(files) > 20
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "azdistill" or name.startswith("azure.ai") for name in names), path


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.parent.name)
def test_an_environment_is_a_folder_that_builds_on_a_base_of_the_users_choice(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from azure.ai.ml import load_environment

        assert load_environment(path).build is not None
    dockerfile = (path.parent / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE_IMAGE=mcr\.microsoft\.com/\S+\nFROM \$\{BASE_IMAGE\}$", dockerfile, re.M)
    pins = [line for line in (path.parent / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert pins
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)


#: Never installed where the lock is made.
ON_GPUS_ONLY = ("vllm==",)


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.parent.name)
def test_the_pins_of_an_environment_are_those_of_the_lock(path):
    lock = (ROOT / "requirements.lock").read_text().lower().replace("_", "-").splitlines()
    for line in (path.parent / "requirements.txt").read_text().splitlines():
        if not line.startswith("#"):
            assert line.lower().replace("_", "-") in lock or line.startswith(ON_GPUS_ONLY)


def pins(path):
    """Distribution -> versions that a file pins it to; comments count, as people copy them."""
    found = {}
    for name, version in re.findall(r"(?<![\w.-])([A-Za-z][\w.-]*)(?:\[[\w,-]+\])?==(\d[\w.!+]*\w)", path.read_text()):
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(version)
    return found


def test_what_is_pinned_in_several_places_is_pinned_to_one_version():
    """Requirements, Dockerfiles, conda files and the documentation; a teacher answers alike wherever it runs."""
    patterns = ("environments/**/*", "components/**/*.yml", "pipelines/**/*", "examples/**/*.yml", "docs/*.md")
    files = [path for pattern in (*patterns, "*.md", "requirements*", "pyproject.toml") for path in ROOT.glob(pattern)]
    versions = {}
    read = (".txt", ".yml", ".md", ".toml", ".lock")
    for path in (path for path in files if path.suffix in read or path.name == "Dockerfile"):
        for name, found in pins(path).items():
            versions.setdefault(name, {})[str(path.relative_to(ROOT))] = found
    assert len([name for name, places in versions.items() if len(places) > 1]) > 10
    assert "vllm" in versions
    assert {name: places for name, places in versions.items() if len(set().union(*places.values())) > 1} == {}


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.parent.name)
def test_vllm_chooses_its_own_torch_and_transformers(path):
    # vLLM 0.33.0 wants torch 2.13.0 and transformers below 5.20; the training image has its own, newer one.
    pinned = set(pins(path.parent / "requirements.txt"))
    assert "vllm" not in pinned or not pinned & {"torch", "transformers"}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "teacher_parallel"])
def test_a_step_includes_what_its_code_imports_and_no_more(name):
    """A folder that a step does not need would have it run again for nothing."""
    includes = {Path(include).name for include in spec_of(FOLDERS[name] / "component.yml")["additional_includes"]}
    assert includes == {"common"} | ({"modelling", "teacher_inference"} & imported(FOLDERS[name]))


#: Distribution -> module, where the names differ.
MODULE = {
    "azure-identity": "azure",
    "jinja2": "jinja2",
    "mlflow-skinny": "mlflow",
    "pyyaml": "yaml",
    "rouge-score": "rouge_score",
}
#: Needed without being imported: MLflow's plug-in for a workspace.
UNSEEN = {"azureml-mlflow"}


@pytest.mark.parametrize("environment", ["data", "train"])
def test_an_environment_pins_what_its_steps_import(environment):
    steps = [path.parent for path in FILES if f"/{environment}/environment.yml" in spec_of(path).get("environment", "")]
    used = set().union(*(imported(COMPONENTS / "common"), *map(imported, steps)))
    if environment == "train":
        used |= imported(COMPONENTS / "modelling")
    own = {path.stem for path in COMPONENTS.rglob("*.py")} | {"common", "modelling", "protocols"}
    third_party = used - set(sys.stdlib_module_names) - own
    lines = (ROOT / "environments" / environment / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0].lower().replace("_", "-") for line in lines if not line.startswith("#")}
    pinned = {MODULE.get(name, name.replace("-", "_")) for name in names - UNSEEN}
    assert third_party == pinned


def imported(folder):
    """The top-level names that a folder's code imports, inside functions too."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names
