"""Task `summarization`: one sentence that keeps who did what, where and when, and leaves the rest out."""

from __future__ import annotations

from random import Random

from .rows import Example
from .words import ANIMALS, COLOURS, DAYS, NAMES, PLACES, THINGS, WEATHER

SYSTEM = "Write one sentence that sums up the article."
DEEDS = (("sold", "sells"), ("found", "finds"), ("bought", "buys"), ("lost", "loses"))


def draw(random: Random) -> Example:
    """An article of five or six sentences around one deed, with details that do not belong in a summary."""
    who, other = random.sample(NAMES, 2)
    past, present = random.choice(DEEDS)
    number, thing = random.randint(2, 60), random.choice(THINGS)
    place, elsewhere = random.sample(PLACES, 2)
    day = random.choice(DAYS)
    opening = random.choice(("On {day} {who} went to the {place}.", "It was {day} and {who} was at the {place}."))
    opening = opening.format(day=day, who=who, place=place)
    deed = random.choice(("There {who} {past} {n} {thing}.", "In the end {who} {past} {n} {thing} there."))
    deed = deed.format(who=who, past=past, n=number, thing=thing)
    details = random.sample(_details(random, other, elsewhere), random.randint(3, 4))
    cut = random.randint(0, len(details) - 1)
    article = " ".join([details[0], opening, *details[1 : cut + 1], deed, *details[cut + 1 :]])
    gold = f"{who} {present} {number} {thing} at the {place} on {day}."
    return Example((f"Article: {article}",), gold, (past, number, thing, place, day), system=SYSTEM)


def _details(random: Random, other: str, elsewhere: str) -> list[str]:
    animal, colour, number = random.choice(ANIMALS), random.choice(COLOURS), random.randint(2, 60)
    return [
        f"The weather was {random.choice(WEATHER)}.",
        f"{other} stayed at the {elsewhere}.",
        f"A {colour} {animal} slept near the door.",
        f"{other} has {number} {random.choice(THINGS)}.",
        f"The {animal} of {other} is {colour}.",
    ]
