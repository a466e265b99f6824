"""``azdistill init`` and ``azdistill compile``."""

from __future__ import annotations

from pathlib import Path

import click

from azdistill import assets, families
from azdistill.cli.options import quiet_option, sets_option
from azdistill.cli.text import print_findings
from azdistill.errors import raise_errors

#: What a project can start with: the tasks that come with sample data.
TASKS = [name for name in families.names(assets.tasks()) if assets.sample_data(name).is_file()]


@click.command("compile")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write the pipeline; - is stdout.")
@sets_option
@quiet_option
@click.option("--force", is_flag=True, help="Overwrite FILE even if azdistill did not write it.")
def compile_command(recipe: Path, output: str, sets: tuple[str, ...], force: bool) -> None:
    """Write the Azure ML pipeline that RECIPE stands for.

    RECIPE is a recipe of azdistill or an Azure ML job of `type: distillation`. The pipeline is what `azdistill run`
    runs and what `az ml job create -f FILE` takes.
    """
    from azdistill import aml
    from azdistill.compile import compile_recipe
    from azdistill.compile.sets import parse_sets
    from azdistill.compile.write import render, write

    values = parse_sets(sets)
    built = compile_recipe(recipe, values)
    problems = aml.check(built.pipeline())
    raise_errors(problems)
    print_findings(built.warnings + problems, built.notes)
    if output == "-":
        click.echo(render(built, Path.cwd(), values), nl=False)
        return
    target = Path(output)
    write(render(built, target.absolute().parent, values), target, force=force)
    click.echo(f"wrote {target}; next: azdistill run {target}", err=True)


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--task", type=click.Choice(TASKS), default="nli", show_default=True, help="What the student learns.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty; files that exist are kept.")
def init_command(folder: Path, task: str, force: bool) -> None:
    """Write a small project to own into DIR: a recipe, sample data, the prompts and a README."""
    from azdistill.project import create

    new_paths, old_paths = create(folder, task, force=force)
    for path in new_paths:
        click.echo(f"wrote {path}")
    for path in old_paths:
        click.echo(f"kept  {path} (it was there)")
    click.echo(f"next: cd {folder} && azdistill validate recipe.yml")
