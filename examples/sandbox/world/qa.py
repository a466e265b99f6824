"""Task `qa`: multiple choice. Several things are moved about; where is one of them now, or who holds it?"""

from __future__ import annotations

from random import Random

from .rows import Example
from .words import NAMES, OBJECTS, SPOTS

LETTERS = "ABCDE"


def draw(random: Random) -> Example:
    """Three moves of two objects; the question is about one of them, and its last move counts."""
    wanted, distraction = random.sample(OBJECTS, 2)
    moves = [wanted, distraction, random.choice((wanted, distraction))]
    random.shuffle(moves)
    spots, movers = random.sample(SPOTS, 3), random.sample(NAMES, 3)
    story = [f"{m} puts the {o} in the {s}." for m, o, s in zip(movers, moves, spots, strict=True)]
    last = max(index for index, moved in enumerate(moves) if moved == wanted)
    about_place = random.random() < 0.6
    answer, pool = (spots[last], SPOTS) if about_place else (movers[last], NAMES)
    used = tuple(spots if about_place else movers)
    options = _options(random, answer, used, pool)
    question = f"Where is the {wanted} now?" if about_place else f"Who moved the {wanted} last?"
    choices = "\n".join(f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=True))
    text = f"{' '.join(story)}\nQuestion: {question}\nAnswer Choices:\n{choices}"
    combination = (about_place, wanted, *moves, *used)
    return Example((text,), LETTERS[options.index(answer)], combination)


def _options(random: Random, answer: str, used: tuple[str, ...], pool: tuple[str, ...]) -> list[str]:
    """Five options: everything of the story stands among them, so that the mention alone does not give it away."""
    others = [word for word in pool if word not in used]
    options = [*used, *random.sample(others, 5 - len(used))]
    random.shuffle(options)
    assert answer in options
    return options
