"""Task `conversation`: a shopkeeper who remembers what was said some turns ago."""

from __future__ import annotations

from random import Random

from .rows import Example
from .words import COLOURS, DAYS, NAMES, THINGS

SYSTEM = "You are a friendly shopkeeper."
CHATTER = (
    ("How is the weather?", "It is a fine day."),
    ("Is the shop open?", "Yes, come in."),
    ("Thank you.", "You are welcome."),
)


def draw(random: Random) -> Example:
    """Two or three user turns with the shopkeeper's answers; the last turn asks for something said before."""
    who, thing, colour, day = (random.choice(words) for words in (NAMES, THINGS, COLOURS, DAYS))
    number = random.randint(2, 20)
    order, reply = _order(random, number, colour, thing)
    turns = [f"Hello, my name is {who}. {order}", f"Hello {who}. {reply}"]
    when = random.random() < 0.5
    turns += [f"I will come on {day}.", f"Good, we are open on {day}."] if when else random.choice(CHATTER)
    question, gold = random.choice(_questions(who, number, colour, thing, day if when else None))
    return Example((*turns, question), gold, (number, colour, thing, question), system=SYSTEM)


def _order(random: Random, number: int, colour: str, thing: str) -> tuple[str, str]:
    ask = random.choice(("I want to buy", "I need", "Please give me"))
    return f"{ask} {number} {colour} {thing}.", random.choice(("We have them.", "That is no problem."))


def _questions(who: str, number: int, colour: str, thing: str, day: str | None) -> list[tuple[str, str]]:
    found = [
        ("What did I order?", f"{who}, you ordered {number} {colour} {thing}."),
        (f"How many {thing} did I order?", f"You ordered {number} {thing}."),
        ("Which colour did I want?", f"You wanted {colour} {thing}."),
        ("Do you remember my name?", f"Yes, your name is {who}."),
    ]
    return [*found, ("When do I come?", f"You come on {day}, {who}.")] if day else found
