"""Runs of Azure ML pipelines on this machine: what the command line and the client use of them.

:func:`run_pipeline` runs a pipeline, :func:`foresee` says what a run would do, and :func:`explain` why a step ran. What
stands below this file is for those who change it. Names are imported when they are used, so that a verb starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azdistill.local.cache.code_gc import CopyUse as CopyUse
    from azdistill.local.cache.code_gc import held_copies as held_copies
    from azdistill.local.cache.code_gc import remove_copies as remove_copies
    from azdistill.local.cache.entries import Cache as Cache
    from azdistill.local.cache.explain import Explanation as Explanation
    from azdistill.local.cache.explain import explain as explain
    from azdistill.local.cache.explain import short_value as short_value
    from azdistill.local.cache.gc import EntryUse as EntryUse
    from azdistill.local.cache.gc import entries_to_remove as entries_to_remove
    from azdistill.local.cache.gc import held_entries as held_entries
    from azdistill.local.cache.gc import remove_entries as remove_entries
    from azdistill.local.cache.hashes import Hashes as Hashes
    from azdistill.local.dry_run import Forecast as Forecast
    from azdistill.local.dry_run import foresee as foresee
    from azdistill.local.outputs.deliver import deliver as deliver
    from azdistill.local.outputs.deliver import delivered as delivered
    from azdistill.local.outputs.deliver import refuse_foreign as refuse_foreign
    from azdistill.local.pipeline_run import Finished as Finished
    from azdistill.local.pipeline_run import Options as Options
    from azdistill.local.pipeline_run import run_pipeline as run_pipeline
    from azdistill.local.plan.refused import refused_places as refused_places
    from azdistill.local.plan.selection import Selection as Selection
    from azdistill.local.plan.steps import Plan as Plan
    from azdistill.local.run.listener import Listener as Listener
    from azdistill.local.store.events import Event as Event
    from azdistill.local.store.events import RunState as RunState
    from azdistill.local.store.events import StepState as StepState
    from azdistill.local.store.events import trial_name as trial_name
    from azdistill.local.store.home import Home as Home
    from azdistill.local.store.home import find_home as find_home
    from azdistill.local.store.machine_errors import disk_errors as disk_errors
    from azdistill.local.store.machine_errors import machine_error as machine_error
    from azdistill.local.store.runs import list_runs as list_runs
    from azdistill.local.store.runs import load_run as load_run
    from azdistill.local.store.runs import named as named
    from azdistill.local.tracking import Tracker as Tracker
    from azdistill.local.tracking import tracking_uri as tracking_uri
    from azdistill.local.tracking.listener import TrackingListener as TrackingListener
    from azdistill.local.tracking.pulled import PulledEntry as PulledEntry
    from azdistill.local.tracking.pulled import PulledStore as PulledStore
    from azdistill.local.tracking.ui import serve_ui as serve_ui
    from azdistill.local.tracking.worker import VIEW_TAG as VIEW_TAG

#: The module below this one -> the names that come from it.
_NAMES = {
    "cache.code_gc": ("CopyUse", "held_copies", "remove_copies"),
    "cache.entries": ("Cache",),
    "cache.explain": ("Explanation", "explain", "short_value"),
    "cache.gc": ("EntryUse", "entries_to_remove", "held_entries", "remove_entries"),
    "cache.hashes": ("Hashes",),
    "dry_run": ("Forecast", "foresee"),
    "outputs.deliver": ("deliver", "delivered", "refuse_foreign"),
    "pipeline_run": ("Finished", "Options", "run_pipeline"),
    "plan.refused": ("refused_places",),
    "plan.selection": ("Selection",),
    "plan.steps": ("Plan",),
    "run.listener": ("Listener",),
    "store.events": ("Event", "RunState", "StepState", "trial_name"),
    "store.home": ("Home", "find_home"),
    "store.machine_errors": ("disk_errors", "machine_error"),
    "store.runs": ("list_runs", "load_run", "named"),
    "tracking": ("Tracker", "tracking_uri"),
    "tracking.listener": ("TrackingListener",),
    "tracking.pulled": ("PulledEntry", "PulledStore"),
    "tracking.ui": ("serve_ui",),
    "tracking.worker": ("VIEW_TAG",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'azdistill.local' has no attribute '{name}'")
    return getattr(importlib.import_module(f"azdistill.local.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
