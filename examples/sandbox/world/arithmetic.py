"""Task `math`: word problems of two steps, answered as `12 + 7 = 19. 19 - 5 = 14. #### 14`.

Six kinds of problem (a stock that changes twice, two owners compared, groups of equal size, two stocks joined, a
purchase, a fair share), each in several wordings, some with a sentence that has nothing to do with the question.
No answer is a number of its question, so none can be had by copying.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from .rows import Example
from .words import HOLDERS, NAMES, PLACES, THINGS

OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left // right,
}
LARGEST = 60
"""No number of a problem or of its answer is larger."""
LARGEST_TAUGHT = 99
"""The same for the problems that the teacher learns from: it knows a wider world than it is asked about."""
GAINS = (
    "{who} buys {n} more.",
    "{who} finds {n} more.",
    "{other} gives {who} {n} more.",
    "Then {who} gets {n} more at the {place}.",
)
LOSSES = (
    "{who} loses {n} of them.",
    "{who} gives {n} of them to {other}.",
    "{who} sells {n} of them.",
    "Then {who} leaves {n} of them at the {place}.",
)


class Step(NamedTuple):
    """One calculation: `left operation right`."""

    left: int
    operation: str
    right: int

    @property
    def result(self) -> int:
        return OPERATIONS[self.operation](self.left, self.right)

    def __str__(self) -> str:
        return f"{self.left} {self.operation} {self.right} = {self.result}"


class Problem(NamedTuple):
    """A story that ends in a question, and the two steps that answer it."""

    kind: str
    text: str
    steps: tuple[Step, Step]


def draw(random: Random, largest: int = LARGEST) -> Example:
    """One problem whose numbers stay in range and whose answer does not stand in the text."""
    while True:
        problem = random.choice(KINDS)(random)
        if _fits(problem, largest):
            return _example(problem)


def taught(random: Random) -> Example:
    """One problem for the teacher to learn from, with larger numbers among them."""
    return draw(random, LARGEST_TAUGHT)


def _fits(problem: Problem, largest: int) -> bool:
    first, second = problem.steps
    if min(first.result, second.result) < 1 or max(_numbers(problem.steps)) > largest:
        return False
    if any(step.operation == "/" and step.left % step.right for step in problem.steps):
        return False
    return str(second.result) not in problem.text.replace(".", " ").replace("?", " ").split()


def _numbers(steps: tuple[Step, Step]) -> list[int]:
    return [number for step in steps for number in (step.left, step.right, step.result)]


def _example(problem: Problem) -> Example:
    first, second = problem.steps
    gold = f"{first}. {second}. #### {second.result}"
    return Example((problem.text,), gold, (*first, *second))


def change(random: Random, sign: str, **words: object) -> str:
    """One sentence in which somebody's stock grows (`+`) or shrinks (`-`)."""
    return random.choice(GAINS if sign == "+" else LOSSES).format(place=random.choice(PLACES), **words)


def _change(random: Random) -> Problem:
    who, other = random.sample(NAMES, 2)
    thing, noise = _thing_and_noise(random, other)
    start, signs = random.randint(5, 40), random.choices("+-", k=2)
    amounts = [random.randint(2, 20), random.randint(2, 20)]
    events = [change(random, s, who=who, other=other, n=n) for s, n in zip(signs, amounts, strict=True)]
    opening = random.choice(("{who} has {n} {thing}.", "There are {n} {thing} in the house of {who}."))
    question = random.choice(("How many {thing} does {who} have now?", "How many {thing} are left for {who}?"))
    words = {"who": who, "n": start, "thing": thing}
    text = " ".join([opening.format(**words), *noise, *events, question.format(**words)])
    first = Step(start, signs[0], amounts[0])
    return Problem("change", text, (first, Step(first.result, signs[1], amounts[1])))


def _compare(random: Random) -> Problem:
    who, other = random.sample(NAMES, 2)
    thing, noise = _thing_and_noise(random, who)
    start, difference = random.randint(5, 40), random.randint(2, 20)
    sign, word = random.choice((("+", "more"), ("-", "fewer")))
    facts = [f"{who} has {start} {thing}.", f"{other} has {difference} {word} {thing} than {who}."]
    if random.random() < 0.3:
        facts.reverse()
    question = random.choice(("How many {thing} do they have together?", "How many {thing} do the two have in all?"))
    first = Step(start, sign, difference)
    return Problem(
        "compare", " ".join([*noise, *facts, question.format(thing=thing)]), (first, Step(start, "+", first.result))
    )


def _groups(random: Random) -> Problem:
    who, other = random.sample(NAMES, 2)
    thing, noise = _thing_and_noise(random, other)
    groups, size, amount = random.randint(2, 9), random.randint(2, 9), random.randint(2, 20)
    sign, holder = random.choice("+-"), random.choice(HOLDERS)
    opening = random.choice(
        ("{who} has {g} {holder} with {s} {thing} each.", "{who} fills {g} {holder}. In each are {s} {thing}.")
    ).format(who=who, g=groups, holder=holder, s=size, thing=thing)
    event = change(random, sign, who=who, other=other, n=amount)
    question = f"How many {thing} does {who} have now?"
    first = Step(groups, "*", size)
    return Problem("groups", " ".join([opening, *noise, event, question]), (first, Step(first.result, sign, amount)))


def _join(random: Random) -> Problem:
    who, other = random.sample(NAMES, 2)
    one, two = random.sample(THINGS, 2)
    left, right, amount = random.randint(3, 30), random.randint(3, 30), random.randint(2, 20)
    opening = random.choice(
        ("{who} has {a} {one} and {b} {two}.", "In the house of {who} are {a} {one} and {b} {two}.")
    )
    event = random.choice(("{who} gives {n} things to {other}.", "{other} takes {n} things away."))
    text = opening.format(who=who, a=left, b=right, one=one, two=two)
    text = f"{text} {event.format(who=who, other=other, n=amount)} How many things are left for {who}?"
    first = Step(left, "+", right)
    return Problem("join", text, (first, Step(first.result, "-", amount)))


def _purchase(random: Random) -> Problem:
    who, other = random.sample(NAMES, 2)
    thing, noise = _thing_and_noise(random, other)
    count, price, paid = random.randint(2, 9), random.randint(2, 9), random.randint(10, 90)
    opening = random.choice(
        ("{who} buys {c} {thing} for {p} dollars each.", "One costs {p} dollars and {who} buys {c} {thing}.")
    ).format(who=who, c=count, p=price, thing=thing)
    text = " ".join([opening, *noise, f"{who} pays with {paid} dollars. How many dollars does {who} get back?"])
    first = Step(count, "*", price)
    return Problem("purchase", text, (first, Step(paid, "-", first.result)))


def _share(random: Random) -> Problem:
    who, other = random.sample(NAMES, 2)
    thing, noise = _thing_and_noise(random, other)
    friends, each = random.randint(2, 9), random.randint(2, 9)
    total = friends * each
    start = random.randint(1, total - 1)
    opening = random.choice(("{who} has {a} {thing} and finds {b} more.", "{who} has {a} {thing} and buys {b} more."))
    opening = opening.format(who=who, a=start, b=total - start, thing=thing)
    question = f"{who} shares all of them with {friends} friends. How many {thing} does each friend get?"
    first = Step(start, "+", total - start)
    return Problem("share", " ".join([opening, *noise, question]), (first, Step(total, "/", friends)))


def _thing_and_noise(random: Random, somebody: str) -> tuple[str, list[str]]:
    """The thing that is counted, and in four problems of ten a sentence that counts something else."""
    thing, else_ = random.sample(THINGS, 2)
    noise = f"{somebody} has {random.randint(2, 30)} {else_}."
    return thing, [noise] if random.random() < 0.4 else []


KINDS = (_change, _compare, _groups, _join, _purchase, _share)
