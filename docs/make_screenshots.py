"""Draw the demo's report and its MLflow pages with headless Chromium into docs/images.

    make demo && make screenshots

Needs a Chromium or Chrome on the PATH (Debian: `apt-get install chromium`), or its path in CHROMIUM.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
REPORT = ROOT / "runs" / "demo" / "report" / "report.html"
PORT = 5123


def main() -> None:
    browser = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None
    )
    if not browser:
        sys.exit("no Chromium on the PATH: install one, or name it in CHROMIUM")
    if not REPORT.exists():
        sys.exit(f"{REPORT} is not there: run `make demo` first")
    IMAGES.mkdir(exist_ok=True)
    _shoot(browser, REPORT.as_uri(), "report.png", width=1240, height=2080)
    with _mlflow_ui() as url:
        _shoot(browser, url, "mlflow-runs.png", width=2200, height=640)


def _shoot(browser: str, url: str, name: str, *, width: int, height: int) -> None:
    target = IMAGES / name
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ]
        command += [f"--window-size={width},{height}", "--virtual-time-budget=20000", f"--screenshot={target}", url]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    if not target.exists():
        sys.exit(f"the browser wrote no {target}")
    print(f"{target.relative_to(ROOT)}  ({target.stat().st_size // 1024} kB)")


@contextmanager
def _mlflow_ui() -> Iterator[str]:
    """Start `azdistill ui`; give the address that it prints."""
    command = [sys.executable, "-m", "azdistill", "ui", "--port", str(PORT)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            # It is told once the server answers; nothing is, where another has the port.
            url = server.stdout.readline().strip()
            if not url:
                sys.exit(f"azdistill ui did not start on port {PORT}")
            yield url
        finally:
            server.terminate()


main()
