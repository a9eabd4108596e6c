"""`cans version`."""

import json

import click

from cans.settings import Command


@click.command("version", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def version(*, as_json: bool) -> None:
    """Print the versions that matter when something does not work.

    \b
    Example:
      cans version --json
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.versions import versions  # noqa: PLC0415 - see cans/commands/__init__.py

    found = versions()
    if as_json:
        click.echo(json.dumps(found))
        return
    width = max(map(len, found))
    click.echo("\n".join(f"{name:<{width}}  {value}" for name, value in found.items()))
