"""Commands put together at random, of every construct of bash that a value may stand in."""

from __future__ import annotations

import random
from collections.abc import Callable

V = "${{inputs.x}}"


class Commands:
    """Commands of every construct of bash, in one another, with values anywhere but as what is run."""

    def __init__(self, source: random.Random) -> None:
        self.random = source

    def any(self, depth: int) -> str:
        last = self.random.choice(("", f"\np '{V}'", f'\np "{V}"', f"; p {V}"))
        return self.commands(depth) + last

    def commands(self, depth: int) -> str:
        return self.some(self.command, depth, self.random.choice(("; ", "\n", " && ")), 2)

    def some(self, make: Callable[[int], str], depth: int, between: str, most: int) -> str:
        return between.join(make(depth) for _ in range(self.random.randint(1, most)))

    def _plain(self) -> str:
        return self.random.choice((V, f"'{V}'", f'"{V}"', "k", f"k{V}", "it\\'s", "'q q'", '"d d"', "\\\\", '\\"'))

    def _backticks(self, depth: int, quoted: bool = False) -> str:
        inner = self.commands(depth)
        if self.random.random() < 0.5:
            return "`" + inner.replace("`", "") + "`"
        escaped = inner.replace("\\", "\\\\").replace("`", "\\`")
        return "`" + (escaped.replace('"', '\\"') if quoted else escaped) + "`"

    def word(self, depth: int) -> str:
        if depth <= 0:
            return self._plain()
        less = depth - 1
        makers: list[Callable[[], str]] = [
            self._plain,
            lambda: f'"{self.some(self.quoted, less, "", 3)}"',
            lambda: f"$({self.commands(less)})",
            lambda: self._backticks(less),
            lambda: (
                self.random.choice(("${a[%s]}", "${a[%s]:-k}", "${u:%s}", "${u:0:%s}", "${@:%s}")) % self.word(less)
            ),
            lambda: "${u" + self.random.choice(("#", "%", ":-", "-", "+")) + self.word(less) + "}",
            lambda: self.random.choice(("$(( {} ))", "$[{}]", "\\{}", "$'e\\'k'{}")).format(self.word(less)),
            lambda: f"<({self.commands(less)})",
            lambda: f"{self.word(less)}#{self.word(less)}",
        ]
        return self.random.choice(makers)()

    def quoted(self, depth: int) -> str:
        parts = (V, "k ", "it's ", f"${{u:-'{V}'}}", f'${{u:-"{V}"}}', f"$((1+{V}))", f"$[{V}]", '\\"', "\\\\")
        if depth <= 0 or self.random.random() < 0.5:
            return self.random.choice(parts)
        less = depth - 1
        makers: list[Callable[[], str]] = [
            lambda: "${u:-" + self.quoted(less) + "}",
            lambda: "${u#" + self.word(less) + "}",
            lambda: self.random.choice(("${a[%s]}", "${u: %s:1}")) % self.word(less),
            lambda: f"$({self.commands(less)})",
            lambda: f"$(case a in a) {self.commands(less)};; esac)",
            lambda: self._backticks(less, quoted=True),
        ]
        return self.random.choice(makers)()

    def body(self, depth: int) -> str:
        parts = (V, "it's", '"', f"${{u:-{V}}}", f"${{u:-'{V}'}}", "k \\", "\\$(k)", f"E{V}", f"{V}E", f"$(({V}))")
        if depth <= 0 or self.random.random() < 0.5:
            return self.random.choice(parts)
        return self._backticks(depth - 1) if self.random.random() < 0.5 else f"$({self.commands(depth - 1)})"

    def prefix(self, depth: int) -> str:
        return self.random.choice(("i={}", "i+={}", "i[1]={}", "i=({})", "2>&1 <<<{}")).format(self.word(depth))

    def command(self, depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.3:
            return "p " + self.some(self.word, depth, " ", 3)
        less, plain = depth - 1, self._plain()
        body = self.some(self.body, less, "\n", 3)
        makers: list[Callable[[], str]] = [
            lambda: self.random.choice(
                ("( {} )", "{{ {}; }}", "if p; then {}; fi", "for ((i=0;i<1;i++)); do {}; done")
            ).format(self.commands(less)),
            lambda: f"case {plain} in k|a) {self.commands(less)};; (b) {self.commands(less)} ;; esac",
            lambda: f"{self.some(self.prefix, less, ' ', 3)} p {plain}",
            lambda: self.random.choice(("f() {{ {}; }}; f", "function f {{ {}; }}; f", "f() ( {} ); f")).format(
                self.commands(less)
            ),
            lambda: f"p <<E {self.word(less)}\n{body}\nE\n",
            lambda: self.random.choice(
                ("p <<E\n{}\nE\n", "p <<'A B'\n{}\nA B\n", 'p <<-"E"\n{}\n\tE\n', "p a[1<<E\n{}\nE\n")
            ).format(body),
            lambda: f"p k # {self.random.choice(('it is ', V))}\n{self.commands(less)}",
            lambda: self.random.choice(
                ("a[1<<2]={}", "a=([1<<2]=x {})", "p <<<{}", "p @(a|b){}", "p $[1<<2] {}")
            ).format(self.word(less)),
            lambda: self.random.choice(
                ("(( 1<<2 + {} ))", "a[{}]=3", "((p) ; (p {}) )", "[[ ( a == b ) || -n {} ]]", "p case x {}")
            ).format(plain),
        ]
        return self.random.choice(makers)()


class Calls:
    """Commands that call ``p`` with values in every way that leaves it to the value alone what ``p`` is given."""

    def __init__(self, source: random.Random) -> None:
        self.random = source

    def word(self) -> str:
        return self.random.choice(
            (
                *(V, V, V, f"'{V}'", f'"{V}"', f"--x={V}", f"a{V}b", f"{V}'q'\"d\"", f"'a'{V}", f"{V}{V}"),
                *(f"'a {V}'", f'"a {V} b"', f"a\\ {V}", f"a\\ \\\n{V}", f"a\\\n{V}", f"\\\n{V}", f"{V} \\\n"),
                *(
                    f"a#{V}",
                    f"\\ #'{V}'",
                    f"{V}>&2",
                    f"{V}</dev/null",
                    f"a{V}</dev/null",
                    f"{V}&>/dev/null",
                    f"{{a,{V}}}",
                ),
                *(
                    f'"$A"{V}',
                    f"${{A}} '{V}'",
                    "it\\'s",
                    "\\\\",
                    '\\"',
                    '"it\'s"',
                    "'\"'",
                    '"\\""',
                    "k",
                    "r[a,b]",
                    "$# a",
                ),
                *("$", f"$'{V}'", f'$"{V}"', f'"${{u:-{V}}}"', f"${{u:-{V}}}", f"$(p {V})", f"`p '{V}'`"),
                f'"$(p "{V}")"',
            )
        )

    def call(self) -> str:
        before = ("", "", f"i={V} ", f"i='{V}' ", f'i=k j="{V}" ', ">&2 ", f"<<<{V} ", f"<<< '{V}' ")
        words = " ".join(self.word() for _ in range(self.random.randint(1, 3)))
        return f"{self.random.choice(before)}p {words}"

    def statement(self) -> str:
        one, other = self.call(), self.call()
        return self.random.choice(
            (
                *(one, one, one, f"{one} && {other}", f"{one};{other}", f"! {one} || {other}", f"{one} & wait"),
                *(f"time {one}", f"if {one}; then {other}; fi", f"for k in a; do {one}; done", f"{{ {one}; }}"),
                *(f'i={V}; p i"$i"', f"i='{V}'\np i\"$i\"", f"# it's {V}", f"{one} # it's {V}", f"{one} \\\n  '{V}'"),
                *(f'[[ -n "$A" ]] && {one}', f"( {one} )", f"f() {{ {one}; }}; f", f"case k in k) {one};; esac"),
                *(f"[[ -n '{V}' ]]; {one}", f"p <<E\n{self.line()}\n{self.line()}\nE", f"p <<-\\E\n\t{V}\nE\n{one}"),
                f"p <<'E E'\n{self.line()}\nE E",
            )
        )

    def line(self) -> str:
        return self.random.choice((V, f"a {V}", f"E{V}", f"{V}{V}", f"E {V}", "it's", '"', "E\\", "\\", f"{V} b"))

    def commands(self) -> str:
        return "\n".join(self.statement() for _ in range(self.random.randint(1, 4)))
