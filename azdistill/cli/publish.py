"""``azdistill publish``: components and environments, in a workspace or registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from azdistill import strict_json
from azdistill.cli.workspace import workspace_options

if TYPE_CHECKING:
    from azdistill.cloud.publish import Asset
    from azdistill.cloud.workspace.connect import Where


@click.command("publish")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--registry", metavar="NAME", help="Publish to this registry, not to the workspace.")
@click.option("--dry-run", is_flag=True, help="Say what would be published, and publish nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@workspace_options
def publish_command(paths: tuple[Path, ...], registry: str | None, dry_run: bool, as_json: bool, where: Where) -> None:
    """Register components and environments, for others to build pipelines from.

    PATHS are files, or folders that are searched for component.yml and environment.yml; without any, azdistill's own
    are published. A version is a hash of the content, so
    nothing unchanged is published twice.
    """
    from azdistill.cloud.workspace.connect import begin_import, connect

    begin_import()
    from azdistill.cloud import publish

    wanted = publish.find(paths)
    target = publish.Target(connect(where), registry)
    width = max(len(asset.name) for asset in wanted)

    def told(asset: Asset) -> None:
        click.echo(f"{asset.kind:<12} {asset.name:<{width}}  {asset.version}  {asset.state}", err=as_json)

    done = publish.publish(target, wanted, dry_run=dry_run, on_asset=told)
    if as_json:
        click.echo(strict_json.dumps({"target": target.what, "assets": [asset.as_json() for asset in done]}))
        return
    fresh = sum(asset.state != "unchanged" for asset in done)
    verb = "would be published" if dry_run else "published"
    click.echo(f"{fresh} {verb}, {len(done) - fresh} unchanged, in {target.what}")
