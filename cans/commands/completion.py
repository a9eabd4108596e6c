"""`cans completion`."""

import click
from click.shell_completion import get_completion_class

from cans.settings import Command

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options and choices of cans at the Tab key.

    It asks `cans` itself each time, so it never grows old.

    \b
    Examples:
      cans completion bash > ~/.local/share/bash-completion/completions/cans
      cans completion zsh > ~/.zfunc/_cans                  with fpath+=~/.zfunc before compinit
      cans completion fish > ~/.config/fish/completions/cans.fish
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(ctx.find_root().command, {}, "cans", "_CANS_COMPLETE").source())
