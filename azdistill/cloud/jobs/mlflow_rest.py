"""What a workspace's MLflow knows of a run, asked over REST: no plugin, no second way to log in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azdistill.cloud.workspace.connect import Connection

_MOST_PAGES = 1000


@dataclass(frozen=True, slots=True)
class Logged:
    """Everything that was logged to a run; ``metrics`` with every value: (value, milliseconds since 1970, step)."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[tuple[float, int, int]]] = field(default_factory=dict)

    @property
    def latest(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: max(values, key=lambda v: (v[2], v[1]))[0] for name, values in self.metrics.items() if values}


class Mlflow:
    """Reads one workspace's MLflow. Raises what azure-core raises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        address = str(connection.workspace["properties"].get("mlFlowTrackingUri") or "")
        # azureml://<host>/mlflow/v1.0/subscriptions/... is https on the same host.
        self._base = "https://" + address.partition("://")[2].rstrip("/")

    def logged(self, run_id: str) -> Logged:
        """What was logged to a run; nothing where MLflow does not know it. Asked of the run, as searches miss some."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            run = self._call("runs/get", {"run_id": run_id})["run"]
        except ResourceNotFoundError:
            return Logged()
        data = run.get("data") or {}
        latest = {str(metric["key"]): metric for metric in data.get("metrics") or []}
        return Logged(
            params={str(pair["key"]): str(pair.get("value", "")) for pair in data.get("params") or []},
            tags={str(pair["key"]): str(pair.get("value", "")) for pair in data.get("tags") or []},
            metrics={key: self._history(run_id, key) or [_value(metric)] for key, metric in latest.items()},
        )

    def _history(self, run_id: str, key: str) -> list[tuple[float, int, int]]:
        params, values = {"run_id": run_id, "metric_key": key}, []
        for _ in range(_MOST_PAGES):
            page = self._call("metrics/get-history", params)
            values += [_value(metric) for metric in page.get("metrics") or []]
            token = page.get("next_page_token")
            if not token:
                break
            params = {**params, "page_token": str(token)}
        return values

    def _call(self, verb: str, params: dict[str, str]) -> Any:
        return self._connection.rest.call("GET", f"/api/2.0/mlflow/{verb}", params=params, base=self._base) or {}


def _value(metric: dict[str, Any]) -> tuple[float, int, int]:
    return float(metric["value"]), int(metric.get("timestamp") or 0), int(metric.get("step") or 0)
