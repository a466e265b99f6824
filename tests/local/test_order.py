"""Which steps can start, as others end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azdistill.local.plan.order import Order, in_order
from azdistill.local.plan.steps import PlannedStep


@dataclass
class Needing:
    """All that an order looks at of a step."""

    needs: frozenset[str]


def steps(needs: Mapping[str, str]) -> Any:
    return cast("dict[str, PlannedStep]", {name: Needing(frozenset(words.split())) for name, words in needs.items()})


def test_a_step_is_ready_when_all_that_it_needs_have_ended() -> None:
    order = Order(steps({"a": "", "b": "", "c": "a b", "d": "c"}))
    assert list(order.ready()) == ["a", "b"]
    for name in ("a", "b"):
        order.take(name)
    order.ended_well("a")
    assert list(order.ready()) == []
    order.ended_well("b")
    assert list(order.ready()) == ["c"]


def test_a_step_that_is_taken_out_before_it_was_ready_is_never_ready() -> None:
    order = Order(steps({"a": "", "b": "a", "c": "a"}))
    order.take("a")
    order.take("b")
    order.ended_well("a")
    assert list(order.ready()) == ["c"]


@given(st.lists(st.sets(st.integers(0, 11)), max_size=12), st.randoms())
def test_the_order_is_what_looking_at_every_step_gives(graph: list[set[int]], chance: Any) -> None:
    needs = {f"s{n}": " ".join(f"s{m}" for m in sorted(found) if m < n) for n, found in enumerate(graph)}
    order, ended, taken = Order(steps(needs)), set[str](), set[str]()
    while True:
        looked = [name for name, words in needs.items() if name not in taken and set(words.split()) <= ended]
        assert list(order.ready()) == looked
        if not looked:
            break
        name = chance.choice([*looked, *(name for name in needs if name not in taken)])
        order.take(name)
        taken.add(name)
        if name in looked and chance.random() < 0.9:
            order.ended_well(name)
            ended.add(name)


@given(st.lists(st.sets(st.integers(0, 11)), max_size=12), st.randoms())
def test_steps_come_in_rounds_each_after_all_that_it_needs(needs: list[set[int]], random: Any) -> None:
    names = [f"s{place}" for place in range(len(needs))]
    written = {name: " ".join(f"s{n}" for n in needs[at] if n < at) for at, name in enumerate(names)}
    random.shuffle(names)
    given = steps({name: written[name] for name in names})
    expected: list[str] = []
    while len(expected) < len(names):
        expected += [name for name in names if name not in expected and given[name].needs <= set(expected)]
    assert list(in_order(given)) == expected


def test_a_long_chain_is_put_in_order_with_one_look_at_each_step() -> None:
    looked: list[str] = []

    @dataclass
    class Looked:
        name: str
        _needs: frozenset[str] = field(default_factory=frozenset)

        @property
        def needs(self) -> frozenset[str]:
            looked.append(self.name)
            return self._needs

    chain = {f"s{n}": Looked(f"s{n}", frozenset({f"s{n + 1}"} if n < 199 else ())) for n in range(200)}
    assert list(in_order(cast("dict[str, PlannedStep]", chain))) == [f"s{n}" for n in range(199, -1, -1)]
    assert len(looked) == 200


def test_steps_that_wait_for_each_other_have_no_order() -> None:
    with pytest.raises(ValueError, match="wait for each other: b, c"):
        in_order(steps({"a": "", "b": "c", "c": "b"}))
