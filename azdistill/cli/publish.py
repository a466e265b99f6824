"""``azdistill publish``: components and environments, in a workspace or registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from azdistill.cli.options import json_option, workspace_options
from azdistill.cli.text import print_answer

if TYPE_CHECKING:
    from azdistill.cloud.publish import Asset
    from azdistill.cloud.workspace.connect import Where


@click.command("publish")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--registry", metavar="NAME", help="Publish to this registry, not to the workspace.")
@click.option("--dry-run", is_flag=True, help="Say what would be published, and publish nothing.")
@json_option
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

    assets = publish.find(paths)
    target = publish.Target(connect(where), registry)
    width = max(len(asset.name) for asset in assets)

    def show(asset: Asset) -> None:
        click.echo(f"{asset.kind:<12} {asset.name:<{width}}  {asset.version}  {asset.state}", err=as_json)

    assets = publish.publish(target, assets, dry_run=dry_run, on_asset=show)
    fresh = sum(asset.state != "unchanged" for asset in assets)
    verb = "would be published" if dry_run else "published"
    content = {"target": target.what, "assets": [asset.as_json() for asset in assets]}
    total = f"{fresh} {verb}, {len(assets) - fresh} unchanged, in {target.what}"
    print_answer(content, lambda: [total], as_json=as_json)
