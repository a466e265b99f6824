"""Every component reads the command that its YAML makes: values arrive as they were, others are refused."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import pytest
import yaml
from common import arguments
from common.step import BadConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import FOLDERS, chat, write_jsonl

SPECS = {name: yaml.safe_load((folder / "component.yml").read_text()) for name, folder in FOLDERS.items()}
TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="'"), min_size=1).filter(str.strip)


def command_of(spec):
    return spec.get("command") or spec["task"]["program_arguments"]


def options_of(spec):
    """Option -> what it hands over (``inputs`` or ``outputs``, and the name), as the command says."""
    pattern = r"--(\w+)[ =]'?\$\{\{(inputs|outputs)\.(\w+)\}\}"
    return {option: (kind, name) for option, kind, name in re.findall(pattern, command_of(spec))}


def words_of(spec, values):
    """The words of the command that come of ``values`` by (kind, name); blocks of what is left out are left out."""
    reference = re.compile(r"\$\{\{(inputs|outputs)\.(\w+)\}\}")

    def written(match):
        value = values[match.groups()]
        return str(value).lower() if isinstance(value, bool) else str(value)

    def block(match):
        return match[1] if all(place in values for place in reference.findall(match[1])) else ""

    text = reference.sub(written, re.sub(r"\$\[\[(.*?)\]\]", block, command_of(spec)))
    return shlex.split(text[text.index("--") :])


def value_of(declared):
    """Values that an input may have."""
    least, most = declared.get("min"), declared.get("max")
    if "enum" in declared:
        return st.sampled_from(declared["enum"])
    if declared["type"] == "integer":
        return st.integers(least, most)
    if declared["type"] == "number":
        return st.floats(least, most, allow_nan=False, allow_infinity=False)
    return {"boolean": st.booleans(), "string": TEXT}.get(declared["type"], TEXT.map(Path))


@st.composite
def handed_over(draw, spec):
    """Something for every output and every input, but for some that may be left out."""
    values = {}
    for kind, name in options_of(spec).values():
        declared = spec[kind][name]
        if kind == "outputs" or not declared.get("optional") or draw(st.booleans()):
            values[kind, name] = draw(TEXT.map(Path) if kind == "outputs" else value_of(declared))
    return values


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=40)
@given(data=st.data())
def test_what_the_command_hands_over_arrives(name, data):
    spec = SPECS[name]
    values = data.draw(handed_over(spec))
    read = vars(arguments.parse(SPECS[name], words_of(spec, values)))
    assert read == {option: values.get(place) for option, place in options_of(spec).items()}
    for option, (kind, declared) in options_of(spec).items():
        # 3 where a number is declared is 3.0 to the step.
        assert spec[kind][declared]["type"] != "number" or read[option] is None or type(read[option]) is float


def sample(declared):
    """A value that an input may have."""
    if "default" in declared:
        return declared["default"]
    fixed = {"integer": declared.get("min", 1), "number": declared.get("min", 0.5), "boolean": True}
    return declared["enum"][0] if "enum" in declared else fixed.get(declared["type"], "x")


def refusals():
    """Every value that some declaration refuses: component, option, the word on the command line, what is said."""
    for name, spec in SPECS.items():
        for option, (kind, declared) in options_of(spec).items():
            about = spec[kind][declared]
            number = about["type"] in ("integer", "number")
            if "enum" in about:
                yield name, option, "no-such-word", f"{option}: 'no-such-word' is none of {', '.join(about['enum'])}"
            if about["type"] == "boolean":
                yield name, option, "perhaps", f"{option}: 'perhaps' is not a boolean"
            if number:
                kind_of_number = "int" if about["type"] == "integer" else "float"
                yield name, option, "many", f"{option}: invalid {kind_of_number} value: 'many'"
            if about["type"] == "number":
                yield name, option, "nan", f"{option} must be a finite number, not nan"
                yield name, option, "-inf", f"{option} must be a finite number, not -inf"
            for limit, step in (("min", -1), ("max", 1)):
                if limit in about:
                    beyond = (
                        about[limit] + step
                        if about["type"] == "integer"
                        else math.nextafter(about[limit], step * math.inf)
                    )
                    yield name, option, str(beyond), f"{option} must be "
                    yield (
                        name,
                        option,
                        str(about[limit] + step * 10**400) if about["type"] == "integer" else "1e400",
                        option,
                    )


@pytest.mark.parametrize(
    ("name", "option", "word", "said"),
    [pytest.param(*each, id=f"{each[0]}-{each[1]}-{each[2][:12]}") for each in refusals()],
)
def test_what_is_not_allowed_is_refused_by_name(name, option, word, said):
    spec = SPECS[name]
    values = {place: sample(spec[place[0]][place[1]]) for place in options_of(spec).values()}
    values[options_of(spec)[option]] = word
    with pytest.raises(BadConfig, match=re.escape(said)):
        arguments.parse(SPECS[name], words_of(spec, values))


@pytest.mark.parametrize("name", SPECS)
def test_what_is_left_out_is_the_default_and_what_has_none_is_asked_for(name):
    spec = SPECS[name]
    needed = {
        option: sample(spec[kind][name])
        for option, (kind, name) in options_of(spec).items()
        if kind == "outputs" or not (spec[kind][name].get("optional") or "default" in spec[kind][name])
    }
    words = {option: [f"--{option}", str(value)] for option, value in needed.items()}
    read = vars(arguments.parse(SPECS[name], [word for pair in words.values() for word in pair]))
    for option, (kind, declared) in options_of(spec).items():
        assert option in needed or read[option] == spec[kind][declared].get("default")
    for missing in words:
        with pytest.raises(BadConfig, match=f"required: --{missing}$"):
            arguments.parse(SPECS[name], [word for option, pair in words.items() if option != missing for word in pair])


@pytest.mark.parametrize(("word", "value"), [("", None), ("  ", None), ("True", "true"), ("AUTO", "auto")])
def test_nothing_in_an_optional_input_and_words_that_azure_writes_in_capitals(word, value):
    spec = {
        "name": "c",
        "command": "python c.py $[[--word '${{inputs.word}}']]",
        "inputs": {"word": {"type": "string", "optional": True, "enum": ["auto", "true", "false"]}},
    }
    assert arguments.parse(spec, ["--word", word]).word == value


def test_options_of_others_pass_by_where_they_may_stand():
    spec = {"name": "c", "task": {"program_arguments": "--n ${{inputs.n}}"}, "inputs": {"n": {"type": "integer"}}}
    words = ["--azure", "1", "--n", "3"]
    assert vars(arguments.parse(spec, words, with_others=True)) == {"n": 3}
    with pytest.raises(BadConfig, match="argument --n: expected one argument"):
        arguments.parse(spec, ["--n", "--n", "3"])
    with pytest.raises(BadConfig, match="unrecognized arguments: --azure 1"):
        arguments.parse(spec, words)


def test_a_step_that_is_called_wrongly_ends_with_the_code_of_a_wrong_configuration(component, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat("1 + 1?")])
    ended = component("curate").run({"rows": rows, "task_type": "math", "max_response_words": 0})
    assert ended.returncode == 78
    assert "error[bad_config]: max_response_words must be 1 or more, not 0\n" in ended.stderr
