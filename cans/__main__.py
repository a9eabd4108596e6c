"""The entry point: `cans COMMAND`, also `python -m cans COMMAND`."""

import importlib
import sys

import click

from cans.version import __version__

# In the order a person meets them. The right side is imported only when that command is asked for.
COMMANDS = (
    "demo",
    "broker",
    "provision",
    "aggregator",
    "edge",
    "device",
    "watch",
    "record",
    "recording",
    "replay",
    "rewind",
    "evaluate",
    "explain",
    "partition",
    "models",
    "backup",
    "profile",
    "train",
    "testbed",
    "simulate",
    "compare",
    "doctor",
    "dashboard",
    "prometheus",
    "traces",
    "homeassistant",
    "schema",
    "completion",
    "version",
)


class Commands(click.Group):
    """Finds a command in the file of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in order."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"cans.commands.{cmd_name}"), cmd_name)
        return command


@click.command(
    cls=Commands,
    context_settings={"max_content_width": 100},
    epilog="Start with `cans demo`. Every command takes --help, --config FILE and --show-settings.",
)
@click.version_option(__version__, prog_name="cans")
def main() -> None:
    """Collaborative DNN inference over MQTT.

    Devices learn, together with others of their type, where to cut a neural network: the head runs on the
    device, the tail on an edge worker, and an aggregator merges what the devices learn. All of them talk
    through topics of one MQTT broker.

    \b
    On one machine, to see it:   cans demo
    On your own machines:        cans broker       one, or any MQTT broker you have
                                 cans aggregator   one
                                 cans edge         one or more, where the compute is
                                 cans device       one for each camera
                                 cans watch        to look at any topic
                                 cans record       to keep what is on them (cans recording reads it)
                                 cans replay       to see it again; cans rewind, evaluate and explain ask it
                                 cans models       which models edge workers and devices load
    For your own network:        cans partition    where it can be cut, and what that costs
                                 cans profile      what each part takes this machine
                                 cans train        bottlenecks and early exits for it
    To see who is faster:        cans testbed      experiments on real processes and shaped links
                                 cans simulate     the same in virtual time
                                 cans compare      which differences between them are real
    For people and programs:     cans dashboard    the site in a browser, or a recording of it
                                 cans homeassistant, prometheus, traces, schema
    When something is amiss:     cans doctor       a machine or a site (cans doctor bus), and how to mend it
    """  # noqa: D301 - \b is click's mark for "do not wrap"


if __name__ == "__main__":
    sys.exit(main(prog_name="cans"))
