"""Which handler answers which method and path; the api-version takes no part, as several are in use for one path."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from .messages import Request, Response

Handler = Callable[[Request], Response]
GROUP = "/subscriptions/{subscription}/resourceGroups/{group}"
ML = "/providers/Microsoft.MachineLearningServices"
SHORT = {
    "{ws}": f"{GROUP}{ML}/workspaces/{{workspace}}",
    "{registry}": f"{GROUP}{ML}/registries/{{registry_name}}",
    "{sub}": "/subscriptions/{subscription}",
    "{history}": f"/api/history/v1.0{GROUP}{ML}/workspaces/{{workspace}}",
    "{blobs}": "/blob/{account}.blob.core.windows.net",
    "{mlflow}": f"/mlflow/{{mlflow_version}}{GROUP}{ML}/workspaces/{{workspace}}",
}
"""What a route may be shortened with; ``{name...}`` at the end of a route takes the rest of the path."""

_VARIABLE = re.compile(r"\{(\w+)(\.\.\.)?\}")


@dataclass(frozen=True)
class Route:
    """A method and a path template; ``guard`` says which token a request needs (``arm``, ``ml``, ``none``)."""

    method: str
    template: str
    pattern: re.Pattern[str]
    handler: Handler
    guard: str

    @property
    def name(self) -> str:
        """How requests and faults name it: ``PUT {ws}/jobs/{name}``."""
        return f"{self.method} {self.template}"


class Router:
    """The table of routes. The first that matches answers, so the more special ones are added first."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def add(self, method: str, template: str, handler: Handler, *, guard: str = "arm", first: bool = False) -> None:
        """Let ``handler`` answer ``method`` on ``template``; ``first``: before all routes that are there."""
        route = Route(method, template, _pattern(template), handler, guard)
        self._routes.insert(0, route) if first else self._routes.append(route)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route for a path and the values of its variables, or None."""
        for route in self._routes:
            match = route.pattern.fullmatch(path) if route.method in (method, "*") else None
            if match:
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        return None


def _pattern(template: str) -> re.Pattern[str]:
    for short, long in SHORT.items():
        template = template.replace(short, long)
    made, position = "", 0
    for match in _VARIABLE.finditer(template):
        made += re.escape(template[position : match.start()])
        made += f"(?P<{match[1]}>{'.*' if match[2] else '[^/]+'})"
        position = match.end()
    return re.compile(made + re.escape(template[position:]) + "/?", re.IGNORECASE)
