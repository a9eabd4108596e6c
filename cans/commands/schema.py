"""`cans schema`."""

import json
from pathlib import Path

import click

from bus.topics import DEFAULT_PREFIX
from cans.settings import Command


@click.command("schema", cls=Command)
@click.option(
    "--prefix", default=DEFAULT_PREFIX, envvar="CANS_BROKER_PREFIX", help="First levels of every topic."
)
@click.option(
    "--json-schemas", "folder", type=click.Path(file_okay=False, path_type=Path),
    help="Write a JSON Schema for each topic that carries JSON into this folder instead.",
)  # fmt: skip
def schema(*, prefix: str, folder: Path | None) -> None:
    """Print the bus as an AsyncAPI 3 document: topics, who may do what there, and every message.

    For code generators, validators and documentation of others. It is made of what the roles themselves use.

    \b
    Examples:
      cans schema > asyncapi.json
      cans schema --json-schemas schemas/
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from bus.topics import topics_below  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.api_document import asyncapi, json_schemas  # noqa: PLC0415

    topics_below(prefix)
    if folder is None:
        click.echo(json.dumps(asyncapi(prefix), indent=1, ensure_ascii=False))
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, each in json_schemas().items():
            (folder / f"{name}.json").write_text(
                json.dumps(each, indent=1, ensure_ascii=False) + "\n", "utf-8"
            )
            click.echo(f"{folder / name}.json is written")
    except OSError as error:
        raise click.UsageError(f"cannot write into {folder}: {error.strerror}") from None
