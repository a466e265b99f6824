"""A run owns its code: what is edited, replaced or removed after its start changes nothing in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import statuses, step

from azdistill.local.cache.code_store import CodeStore
from azdistill.local.pipeline_run import Finished

Run = Callable[..., Finished]


def output(finished: Finished, name: str) -> str:
    """What the output ``o`` of a step holds."""
    return Path(finished.state.steps[name].outputs["o"]).read_text()


def code_of(project: Path, **files: str) -> str:
    """A folder of shell scripts, by their names without the ending."""
    (project / "code").mkdir(exist_ok=True)
    for name, text in files.items():
        (project / "code" / f"{name}.sh").write_text(text)
    return "./code"


def test_code_that_is_edited_while_a_run_goes_on_is_the_code_of_the_next_run(run: Run, project: Path) -> None:
    code = code_of(project, a="echo V1", b="echo V1")
    edit = f"bash a.sh > ${{{{outputs.o}}}}; for f in a b; do echo echo V2 > '{project}/code/'$f.sh; done"
    both = 'cat "${{inputs.a}}" - > "${{outputs.o}}" < <(bash b.sh)'
    jobs = {
        "a": step(edit, outputs=("o",), code=code),
        "b": step(both, outputs=("o",), code=code, inputs={"a": "${{parent.jobs.a.outputs.o}}"}),
    }
    assert output(run(jobs), "b") == "V1\nV1\n"
    again = run(jobs)
    assert statuses(again) == {"a": "completed", "b": "completed"}
    assert output(again, "b") == "V2\nV2\n"


@pytest.mark.parametrize("how", ["rewritten", "replaced", "removed"])
def test_code_that_changes_while_it_is_copied_is_never_cached_as_what_it_was(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    code = code_of(project, aa="true", bb="true", zz="echo OLD")
    jobs = {"a": step("bash zz.sh > ${{outputs.o}} || echo GONE > ${{outputs.o}}", outputs=("o",), code=code)}
    zz, copy = project / "code" / "zz.sh", CodeStore.copy
    for moment in ("aa.sh", "bb.sh", "zz.sh"):
        zz.write_text("echo OLD")

        def changing(store: CodeStore, path: Path, moment: str = moment) -> Any:
            copied = copy(store, path)
            if path.name == moment and (not zz.exists() or zz.read_text() == "echo OLD"):
                zz.unlink(missing_ok=how != "rewritten")
                if how != "removed":
                    zz.write_text("echo NEW")
            return copied

        monkeypatch.setattr(CodeStore, "copy", changing)
        changed = run(jobs)
        monkeypatch.setattr(CodeStore, "copy", copy)
        assert output(changed, "a") == ("GONE\n" if how == "removed" else "NEW\n")
    zz.write_text("echo OLD")
    original = run(jobs)
    assert (statuses(original), output(original, "a")) == ({"a": "completed"}, "OLD\n")
