"""Runs of Azure ML pipelines on this machine: what the command line and the client use of them.

:func:`run_pipeline` runs a pipeline, :func:`foresee` says what a run would do, and :func:`explain` why a step ran. What
stands below this file is for those who change it. Names are imported when they are used, so that a verb starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azdistill.local.cache.entries import Cache as Cache
    from azdistill.local.cache.explain import explain as explain
    from azdistill.local.cache.explain import short as short_value
    from azdistill.local.cache.gc import held as held_entries
    from azdistill.local.cache.gc import remove as remove_entries
    from azdistill.local.cache.gc import to_remove as entries_to_remove
    from azdistill.local.cache.hashes import Hashes as Hashes
    from azdistill.local.dry_run import Foreseen as Foreseen
    from azdistill.local.dry_run import foresee as foresee
    from azdistill.local.outputs.deliver import deliver as deliver
    from azdistill.local.outputs.deliver import delivered as delivered
    from azdistill.local.outputs.deliver import refuse_foreign as refuse_foreign
    from azdistill.local.pipeline_run import Finished as Finished
    from azdistill.local.pipeline_run import Options as Options
    from azdistill.local.pipeline_run import run_pipeline as run_pipeline
    from azdistill.local.plan.selection import Selection as Selection
    from azdistill.local.plan.steps import Plan as Plan
    from azdistill.local.run.listener import Listener as Listener
    from azdistill.local.store.durable_files import disk_errors as disk_errors
    from azdistill.local.store.events import Event as Event
    from azdistill.local.store.events import RunState as RunState
    from azdistill.local.store.events import StepState as StepState
    from azdistill.local.store.events import trial_name as trial_name
    from azdistill.local.store.home import Home as Home
    from azdistill.local.store.home import find_home as find_home
    from azdistill.local.store.runs import list_runs as list_runs
    from azdistill.local.store.runs import load_run as load_run
    from azdistill.local.store.runs import named as named
    from azdistill.local.tracking import Tracker as Tracker
    from azdistill.local.tracking import tracking_uri as tracking_uri
    from azdistill.local.tracking.listener import TrackingListener as TrackingListener
    from azdistill.local.tracking.pulled import Entry as PulledEntry
    from azdistill.local.tracking.pulled import PulledStore as PulledStore
    from azdistill.local.tracking.ui import serve as serve_ui
    from azdistill.local.tracking.worker import VIEW_TAG as VIEW_TAG

#: Name -> the module below this one that it comes from, and its name there.
_HOMES = {
    "Cache": ("cache.entries", "Cache"),
    "explain": ("cache.explain", "explain"),
    "short_value": ("cache.explain", "short"),
    "entries_to_remove": ("cache.gc", "to_remove"),
    "held_entries": ("cache.gc", "held"),
    "remove_entries": ("cache.gc", "remove"),
    "Hashes": ("cache.hashes", "Hashes"),
    "Foreseen": ("dry_run", "Foreseen"),
    "foresee": ("dry_run", "foresee"),
    "deliver": ("outputs.deliver", "deliver"),
    "delivered": ("outputs.deliver", "delivered"),
    "refuse_foreign": ("outputs.deliver", "refuse_foreign"),
    "Finished": ("pipeline_run", "Finished"),
    "Options": ("pipeline_run", "Options"),
    "run_pipeline": ("pipeline_run", "run_pipeline"),
    "Selection": ("plan.selection", "Selection"),
    "Plan": ("plan.steps", "Plan"),
    "Listener": ("run.listener", "Listener"),
    "disk_errors": ("store.durable_files", "disk_errors"),
    "Event": ("store.events", "Event"),
    "RunState": ("store.events", "RunState"),
    "StepState": ("store.events", "StepState"),
    "trial_name": ("store.events", "trial_name"),
    "Home": ("store.home", "Home"),
    "find_home": ("store.home", "find_home"),
    "list_runs": ("store.runs", "list_runs"),
    "load_run": ("store.runs", "load_run"),
    "named": ("store.runs", "named"),
    "Tracker": ("tracking", "Tracker"),
    "tracking_uri": ("tracking", "tracking_uri"),
    "TrackingListener": ("tracking.listener", "TrackingListener"),
    "PulledEntry": ("tracking.pulled", "Entry"),
    "PulledStore": ("tracking.pulled", "PulledStore"),
    "serve_ui": ("tracking.ui", "serve"),
    "VIEW_TAG": ("tracking.worker", "VIEW_TAG"),
}
__all__ = [
    "VIEW_TAG",
    "Cache",
    "Event",
    "Finished",
    "Foreseen",
    "Hashes",
    "Home",
    "Listener",
    "Options",
    "Plan",
    "PulledEntry",
    "PulledStore",
    "RunState",
    "Selection",
    "StepState",
    "Tracker",
    "TrackingListener",
    "deliver",
    "delivered",
    "disk_errors",
    "entries_to_remove",
    "explain",
    "find_home",
    "foresee",
    "held_entries",
    "list_runs",
    "load_run",
    "named",
    "refuse_foreign",
    "remove_entries",
    "run_pipeline",
    "serve_ui",
    "short_value",
    "tracking_uri",
    "trial_name",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'azdistill.local' has no attribute '{name}'")
    module, there = _HOMES[name]
    return getattr(importlib.import_module(f"azdistill.local.{module}"), there)


def __dir__() -> list[str]:
    return __all__
