"""Every `cans` that a page shows is one that the command line takes."""

import click
import pytest

from cans.__main__ import main
from tests.support.documents import PAGES, Block, calls_of_cans, shell_blocks

BLOCKS = [block for page in PAGES for block in shell_blocks(page)]


def hold(command: click.Command, ctx: click.Context, arguments: list[str]) -> None:
    """Parse names of options, numbers of arguments and choices; files need not exist."""
    options, rest, _ = command.make_parser(ctx).parse_args(list(arguments))
    for parameter in command.params:
        given = options.get(parameter.name or "")
        if isinstance(parameter.type, click.Choice) and isinstance(given, str):
            parameter.type.convert(given, parameter, ctx)
    if isinstance(command, click.Group) and rest:
        part = command.get_command(ctx, rest[0])
        assert part is not None, f"{ctx.command_path} has no {rest[0]}"
        hold(part, click.Context(part, parent=ctx, info_name=rest[0]), rest[1:])
    else:
        assert not rest, f"{ctx.command_path} does not take {rest}"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_every_cans_on_a_page_is_taken_by_the_command_line(block: Block) -> None:
    for command in block.commands:
        for arguments in calls_of_cans(command):
            hold(main, click.Context(main, info_name="cans"), arguments)


def test_pages_have_commands_and_a_wrong_one_is_told() -> None:
    calls = [call for block in BLOCKS for command in block.commands for call in calls_of_cans(command)]
    assert len(calls) > 100
    for wrong in (
        ["recordd"],
        ["record", "--maximum", "3"],
        ["recording", "info", "a", "b"],
        ["broker", "--mode", "safe"],
    ):
        with pytest.raises((click.ClickException, AssertionError)):
            hold(main, click.Context(main, info_name="cans"), wrong)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    assert block.how != "not run" or len(block.more) > 10
