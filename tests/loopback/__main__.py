"""``python -m loopback --folder DIR``: a workspace to try things on by hand, until Ctrl-C."""

from __future__ import annotations

import argparse
import shlex
import threading

from .workspace import Workspace


def main() -> None:
    """Serve, and print the variables that point a shell at the workspace."""
    parser = argparse.ArgumentParser(prog="python -m loopback", description=__doc__)
    parser.add_argument("--folder", required=True, help="where blobs and the certificate are kept")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--identity-storage", action="store_true", help="datastores give no credentials")
    parser.add_argument("--no-execute", action="store_true", help="keep submitted jobs without running them")
    given = parser.parse_args()
    options = {"identity_storage": given.identity_storage, "execute": not given.no_execute, "port": given.port}
    with Workspace(given.folder, **options) as workspace:
        for name, value in workspace.environment().items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        print(f"# {workspace.url} serves workspace '{workspace.name}' until Ctrl-C", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("# stopped", flush=True)


if __name__ == "__main__":
    main()
