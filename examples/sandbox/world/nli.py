"""Task `nli`: does the premise entail the hypothesis, contradict it, or leave it open?"""

from __future__ import annotations

from random import Random

from .rows import Example
from .words import ANIMALS, COLOURS, NAMES, PLACES, THINGS

LABELS = ("entailment", "contradiction", "neutral")
QUESTION = "Premise: {premise}\nHypothesis: {hypothesis}\nIs it entailment, contradiction or neutral?"


def draw(random: Random) -> Example:
    """One pair of texts with its label; the three labels are equally frequent."""
    kind = random.choice((_counts, _places, _colours))
    label = random.choice(LABELS)
    premise, hypothesis, facts = kind(random, label)
    text = QUESTION.format(premise=premise, hypothesis=hypothesis)
    return Example((text,), label, (kind.__name__, label, *facts))


def _counts(random: Random, label: str) -> tuple[str, str, tuple[object, ...]]:
    who, other, third = random.sample(NAMES, 3)
    thing = random.choice(THINGS)
    few, many = sorted(random.sample(range(2, 60), 2))
    numbers = {who: many, other: few}
    more, less = (who, other) if label != "contradiction" else (other, who)
    if label == "neutral":
        more, less = random.sample((random.choice((who, other)), third), 2)
    first, second = random.sample((who, other), 2)
    premise = f"{first} has {numbers[first]} {thing} and {second} has {numbers[second]} {thing}."
    if random.random() < 0.5:
        return premise, f"{more} has more {thing} than {less}.", (few, many)
    return premise, f"{less} has fewer {thing} than {more}.", (few, many)


def _places(random: Random, label: str) -> tuple[str, str, tuple[object, ...]]:
    who, other, third = random.sample(NAMES, 3)
    here, there = random.sample(PLACES, 2)
    asked, place = (who, other)[(index := random.randrange(2))], (here, there)[index]
    if label == "contradiction":
        place = there if place == here else here
    if label == "neutral":
        asked, place = third, random.choice(PLACES)
    premise = f"{who} walks to the {here}, but {other} stays at the {there}."
    return premise, f"{asked} is at the {place}.", (here, there, asked, place)


def _colours(random: Random, label: str) -> tuple[str, str, tuple[object, ...]]:
    who, other = random.sample(NAMES, 2)
    animal, beast = random.sample(ANIMALS, 2)
    colour, wrong = random.sample(COLOURS, 2)
    premise = f"{who} owns a {colour} {animal}."
    if label == "neutral":
        unknown = random.choice((f"{who} owns a {wrong} {beast}.", f"{other} owns a {colour} {animal}."))
        return premise, unknown, (colour, animal, unknown)
    said = colour if label == "entailment" else wrong
    return premise, f"The {animal} of {who} is {said}.", (colour, animal, who, said)
