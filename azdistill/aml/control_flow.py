"""Steps that run nothing here themselves, from YAML data: ``if_else``, and the kinds that only Azure runs.

Azure ML's rules for ``if_else`` (azure-ai-ml 1.35, ``ConditionNode``): the condition is a boolean or a binding to
something of a primitive type; ``is_control`` on that output changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from azdistill.aml.expressions import parse, references, sole_reference
from azdistill.aml.fields import Fields
from azdistill.aml.models import LOOPS, Binding, Choice, Node, Step
from azdistill.aml.source import Report, Where

_IF_ELSE_KEYS = {"type", "condition", "true_block", "false_block", "display_name", "description", "comment"}
_NODE_HINT = "write ${{parent.jobs.NAME}}"
#: What azure-ai-ml refuses a loop without.
_LOOP_KEYS = {"do_while": ("body", "mapping", "limits"), "parallel_for": ("body", "items")}
#: Keys of a step whose bindings are looked at elsewhere.
_READ = ("inputs", "outputs", "body", "mapping")


def if_else(name: str, fields: Fields, opener: object = None) -> Step:
    """The ``if_else`` step written at ``fields``."""
    fields.known(_IF_ELSE_KEYS, "an if_else step", dropped=True)
    fields.require("an if_else step", "condition")
    blocks = {key: tuple(_nodes(fields.where / key, fields.report)) for key in ("true_block", "false_block")}
    if not any((fields.where / key).value for key in blocks):
        fields.report.error("AZD112", "an if_else step needs 'true_block' or 'false_block'", fields.where)
    choice = Choice(condition=_condition(fields), **blocks)
    return Step(
        name=name,
        type="if_else",
        choice=choice,
        display_name=fields.text("display_name"),
        description=fields.text("description") or "",
        where=fields.where,
    )


def _condition(fields: Fields) -> bool | Binding | None:
    condition, where = fields.data.get("condition"), fields.where / "condition"
    if isinstance(condition, str) and condition.strip().lower() in ("true", "false"):
        return condition.strip().lower() == "true"
    if reference := sole_reference(condition):
        return Binding(path=reference.path, where=where)
    if condition is not None and not isinstance(condition, bool):
        hint = "write true, false, ${{parent.jobs.STEP.outputs.NAME}} or ${{parent.inputs.NAME}}"
        fields.report.error("AZD190", "the condition is neither true nor false nor a binding", where, hint=hint)
        return None
    return condition


def _nodes(where: Where, report: Report) -> Iterator[Node]:
    """The steps of a block: one, or a list of them."""
    block = where.value
    places = [where / number for number in range(len(block))] if isinstance(block, list) else [where]
    for place in places if block is not None else ():
        if node := _node(place, report):
            yield node


def _node(where: Where, report: Report) -> Node | None:
    node_value = where.value
    reference = sole_reference(node_value)
    match reference.path if reference else ():
        case ("parent", "jobs", name):
            return Node(name=name, where=where)
    bare = node_value if isinstance(node_value, str) and node_value.isidentifier() else ""
    subject = f"'{node_value}'" if isinstance(node_value, str) else "this"
    hint = f"did you mean '${{{{parent.jobs.{bare}}}}}'?" if bare else _NODE_HINT
    report.error("AZD191", f"{subject} does not name a step", where, hint=hint)
    return None


def azure_only(name: str, kind: str, fields: Fields) -> Step:
    """A step of a kind that only Azure runs, less its inputs and outputs: the rest is not looked into."""
    fields.require(f"a {kind} step", *_LOOP_KEYS.get(kind, ()))
    body = fields.where / "body"
    return Step(
        name=name,
        type=kind,
        compute=fields.data.get("compute") if isinstance(fields.data.get("compute"), str) else None,
        resources=fields.mapping("resources") or None,
        limits=fields.mapping("limits"),
        body=_node(body, fields.report) if kind in LOOPS and body.value is not None else None,
        display_name=fields.text("display_name"),
        description=fields.text("description") or "",
        where=fields.where,
    )


def bindings_of(step: Step) -> Iterator[tuple[tuple[str, ...], Where, str]]:
    """Bindings to the pipeline in the keys of a step that only Azure runs, wherever they stand; as in ``wiring``."""
    for key in step.where.value if isinstance(step.where.value, dict) else ():
        for text, where in (step.where / key).texts() if key not in _READ else ():
            for reference, _ in references(parse(text)):
                # ${{inputs.x}} and the like are the step's own business: its command is not looked into.
                if reference.path[0] == "parent" and reference.path[1:2] != ("outputs",):
                    yield reference.path, where, reference.raw
