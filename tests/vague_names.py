"""How many names of variables and parameters say nothing of what they hold: ``python tests/vague_names.py FOLDER...``.

Counted are names that are assigned and parameters, each time that they stand in the source.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

#: Participles, pronouns and adverbs: they say how a thing came here, or where it stands, and not what it is.
_VAGUE = (
    "found known given kept said told wanted left held made seen shown taken asked passed put got done meant written"
    " standing other others rest whole both same own inner outer thing things stuff some any many few most more less"
    " then there here now again under above behind beside"
)
VAGUE = frozenset(_VAGUE.split())
#: Nouns that fit every thing.
FILLERS = frozenset({"data", "item", "value", "result", "info", "obj"})


def names_of(folder: Path) -> Counter[str]:
    """How often each name is assigned or is a parameter, in the Python files below ``folder``."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py"))
    return Counter(name.strip("_") for tree in trees for name in _names(tree))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            parameters = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            yield from (parameter.arg for parameter in parameters if parameter.arg not in ("self", "cls"))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def share(names: Counter[str], words: frozenset[str]) -> float:
    """Which part of all names are one of ``words``."""
    return sum(names[word] for word in words) / names.total()


def main() -> None:
    """Print for each folder how many names it has, the shares, and which vague names are most frequent."""
    for folder in sys.argv[1:]:
        names = names_of(Path(folder))
        counts = Counter({word: names[word] for word in VAGUE if names[word]})
        frequent = ", ".join(f"{word} {count}" for word, count in counts.most_common(8))
        shares = f"{share(names, VAGUE):.2%} vague, {share(names, FILLERS):.2%} fillers"
        print(f"{folder}: {names.total()} names, {shares}; {frequent}")


if __name__ == "__main__":
    main()
