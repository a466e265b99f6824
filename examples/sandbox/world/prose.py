"""The language of the world as plain text: what a student has read before it ever sees a task.

Sentences about people, places and things, and sums: bare (`12 + 7 = 19.`) or told in a sentence or two with their
result. There is no question in it, no choice or label, no chat markup, and no sum needs a second step.
"""

from __future__ import annotations

from random import Random

from .arithmetic import LARGEST, Step, change
from .words import ANIMALS, COLOURS, DAYS, HOLDERS, NAMES, OBJECTS, PLACES, SPOTS, THINGS, WEATHER


def passage(random: Random) -> str:
    """A short passage: two to four pieces that need not have to do with each other."""
    return " ".join(random.choice(PIECES)(random) for _ in range(random.randint(2, 4)))


def step(random: Random) -> Step:
    """Any sum of the world, each operation as often as any other."""
    while True:
        operation = random.choice("++--*/")
        left, right = random.randint(1, LARGEST), random.randint(1, LARGEST)
        if operation in "*/":
            left, right = random.randint(2, 9), random.randint(2, 9)
        if operation == "/":
            left *= right
        found = Step(left, operation, right)
        if 1 <= found.result <= LARGEST:
            return found


def _sums(random: Random) -> str:
    return " ".join(f"{step(random)}." for _ in range(3))


def _stock(random: Random) -> str:
    who, other = random.sample(NAMES, 2)
    thing, sign = random.choice(THINGS), random.choice("+-")
    start, amount = random.randint(5, 60), random.randint(2, 30)
    found = Step(start, sign, amount)
    if not 1 <= found.result <= LARGEST:
        return _sums(random)
    event = change(random, sign, who=who, other=other, n=amount)
    return f"{who} has {start} {thing}. {event} {found}. Now {who} has {found.result} {thing}."


def _difference(random: Random) -> str:
    who, other = random.sample(NAMES, 2)
    thing, (sign, word) = random.choice(THINGS), random.choice((("+", "more"), ("-", "fewer")))
    found = Step(random.randint(5, 60), sign, random.randint(2, 30))
    if not 1 <= found.result <= LARGEST:
        return _sums(random)
    told = f"{who} has {found.left} {thing}. {other} has {found.right} {word} {thing} than {who}."
    return f"{told} {found}. So {other} has {found.result} {thing}."


def _packed(random: Random) -> str:
    found = Step(random.randint(2, 9), "*", random.randint(2, 9))
    who, thing, holder = random.choice(NAMES), random.choice(THINGS), random.choice(HOLDERS)
    return (
        f"{who} has {found.left} {holder} with {found.right} {thing} each. {found}. These are {found.result} {thing}."
    )


def _dealt(random: Random) -> str:
    friends, each = random.randint(2, 9), random.randint(2, 9)
    found, who, thing = Step(friends * each, "/", friends), random.choice(NAMES), random.choice(THINGS)
    return f"{who} shares {found.left} {thing} with {friends} friends. {found}. Each friend gets {each} {thing}."


def _paid(random: Random) -> str:
    found, who, thing = (
        Step(random.randint(2, 9), "*", random.randint(2, 9)),
        random.choice(NAMES),
        random.choice(THINGS),
    )
    return (
        f"{who} buys {found.left} {thing} for {found.right} dollars each. {found}. {who} pays {found.result} dollars."
    )


def _life(random: Random) -> str:
    who, other = random.sample(NAMES, 2)
    animal, colour, place = random.choice(ANIMALS), random.choice(COLOURS), random.choice(PLACES)
    return random.choice(
        (
            f"{who} owns a {colour} {animal}.",
            f"On {random.choice(DAYS)} {who} went to the {place}.",
            f"{who} walks to the {place}, but {other} stays at the {random.choice(PLACES)}.",
            f"{who} puts the {random.choice(OBJECTS)} in the {random.choice(SPOTS)}.",
            f"The weather was {random.choice(WEATHER)}.",
            f"{who} ordered {random.randint(2, 20)} {colour} {random.choice(THINGS)}.",
            f"The {animal} of {who} is {colour}.",
        )
    )


PIECES = (*[_sums] * 6, _stock, _difference, _packed, _dealt, _paid, _life)
