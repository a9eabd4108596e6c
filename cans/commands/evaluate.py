"""`cans evaluate`."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from cans.settings import Command

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("evaluate", cls=Command)
@click.argument("file", type=_FILE)
@click.option(
    "--policy", "policies", multiple=True, required=True, metavar="NAME",
    help="What if it had played: as cans device --policy takes it; may be repeated.",
)  # fmt: skip
@click.option(
    "--of", default="", metavar="NAME", help="Whose frames to look at; those of the learner when not given."
)
@click.option("--device", default="", metavar="ID", help="Only this device.")
@click.option(
    "--profile", type=_FILE,
    help="File of cans profile, made on that device: for policies that learn, which choose by what arms are.",
)  # fmt: skip
@click.option(
    "--set",
    "changed",
    multiple=True,
    metavar="KEY=VALUE",
    help="A switch of the learners, such as beta_s=0.3; may be repeated.",
)
@click.option("--json", "for_programs", is_flag=True, help="A JSON list, for programs.")
def evaluate(
    file: Path,
    *,
    policies: tuple[str, ...],
    of: str,
    device: str,
    profile: Path | None,
    changed: tuple[str, ...],
    for_programs: bool,
) -> None:
    """Say what the frames of FILE, a recording, would have taken under other policies.

    By the model alone, from what stages of other frames took. Where the recorded device drew some of its arms
    (`cans device --log-propensities`), also by how likely each arm was, and by both, with intervals. A policy
    that learns plays the recorded frames by itself, without a group.

    \b
    Examples:
      cans evaluate site.mcap --policy device_only --policy edge_only_jpeg
      cans evaluate site.mcap --policy fixed:3/int8-zstd --device cam-1
      cans evaluate site.mcap --policy ans --profile pi4.json
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.evaluate import EvaluateSettings, tell  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.evaluate import evaluate as ask  # noqa: PLC0415

    settings = EvaluateSettings(
        file=file, policies=policies, of=of, device=device, profile=profile, changed=dict(map(_pair, changed))
    )
    tell(ask(settings), sys.stdout, as_json=for_programs)


def _pair(text: str) -> tuple[str, Any]:
    name, given, value = text.partition("=")
    if not given:
        raise click.UsageError(f"--set takes KEY=VALUE, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
