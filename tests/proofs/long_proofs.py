"""The long proofs: what each shows, how it is run, and the files that it speaks for."""

from __future__ import annotations

from dataclasses import dataclass

RUNNER = ("azdistill/aml", "azdistill/local", "azdistill/errors.py", "azdistill/redact.py", "azdistill/snapshot.py")
EVERYTHING = ("azdistill", "components", "pipelines", "examples", "tests/loopback")


@dataclass(frozen=True, slots=True)
class Proof:
    """One proof: either the slow tests of ``tests``, or each of the ``commands`` in turn."""

    name: str
    shows: str
    files: tuple[str, ...]
    """Files and folders: a proof is older than they are once any of them has changed."""
    tests: tuple[str, ...] = ()
    """Patterns of test files; a slow test belongs to exactly one proof."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Arguments of Python, for what is no test."""


PROOFS = (
    Proof(
        "kills",
        "A run that is killed at any moment leaves nothing half done, no process, and can be resumed.",
        (*RUNNER, "tests/kills"),
        ("tests/local/test_kills.py", "tests/docker/test_docker_kills.py", "tests/e2e/test_kill.py"),
    ),
    Proof(
        "fuzzes",
        "Values, texts and files at random stay data; what cannot be read is refused; no change is taken for none.",
        RUNNER,
        (
            *("tests/spec/*.py", "tests/local/test_quoting.py", "tests/local/test_canary.py"),
            *("tests/local/test_event_log.py", "tests/docker/test_docker_quoting.py"),
            *("tests/docker/test_docker_canary.py", "tests/e2e/test_bad_input.py"),
            "tests/local/test_changing_at_random.py",
        ),
    ),
    Proof(
        "sweeps",
        "Sweeps end, resume and are logged as they should, also over whole distillations.",
        (*RUNNER, "components", "pipelines"),
        ("tests/local/test_sweep_*.py", "tests/pipelines/test_tune.py"),
    ),
    Proof(
        "runs",
        "Runs of many steps, of several processes, in containers and under MLflow keep what they promise.",
        (*RUNNER, "azdistill/client", "components", "examples/sandbox"),
        (
            *("tests/local/test_many.py", "tests/local/test_distributed.py", "tests/docker/test_docker_many.py"),
            "tests/docker/test_docker_demo.py",
            *("tests/docker/test_docker_runner.py", "tests/test_tracking.py", "tests/test_client_local.py"),
        ),
    ),
    Proof(
        "components",
        "The components train, score and store with real small models, also on several processes.",
        ("components",),
        ("tests/components/*.py",),
    ),
    Proof(
        "jobs",
        "Jobs in a workspace, whole ones too, give the files of a local run; a service that fails harms nothing.",
        EVERYTHING,
        ("tests/cloud/*.py",),
    ),
    Proof(
        "pipelines",
        "Real data and public pipelines run from the command line to the report.",
        EVERYTHING,
        ("tests/e2e/test_public_pipelines.py", "tests/e2e/test_real_data.py", "tests/e2e/test_teacher_nodes.py"),
    ),
    Proof(
        "browser",
        "The pages of MLflow and of the report open: a server that ends with its command, Chromium that draws them.",
        ("azdistill/local/tracking", "components/evaluation"),
        ("tests/test_ui.py",),
        (("docs/make_screenshots.py",),),
    ),
    Proof(
        "benchmarks",
        "The benchmarks measure: each once, in its smaller cells. Whole tables come from `make bench`.",
        (*RUNNER, "components", "benchmarks"),
        commands=(
            ("benchmarks/finetune.py", "--rounds", "1", "--rows", "128"),
            ("benchmarks/teacher_client.py", "--rounds", "1", "--in-flight", "64", "--clients", "ours", "bare"),
            ("benchmarks/runner/bench.py", "--rounds", "1", "--sizes", "1", "10"),
            ("benchmarks/runner/validate.py", "--rounds", "2"),
        ),
    ),
)
