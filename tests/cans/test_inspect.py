"""`cans aggregator inspect`: what a person sees of the groups, over a real broker and from a folder."""

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from aggregator.runtime import run_aggregator
from aggregator.settings import AggregatorSettings
from bandits.statistics import Statistics
from bus.address import BrokerAddress
from bus.connection import Connection, Endpoint
from bus.errors import ConfigurationError
from bus.messages import GroupWords, StatisticsUpload
from bus.mqtt import open_connection
from bus.statistics import unpack_symmetric
from bus.tensors import view
from bus.topics import ACK, GROUPS, STATS, WORDS, Topics
from bus.wire import encode
from cans.__main__ import main
from cans.inspect_groups import Found, retained, saved, show
from tests.support.broker import Listener, mosquitto, run
from tests.support.played_group import COLUMNS, REGULARISATION, Truth, parameters_of, played

TOPICS = Topics()
GROUP = played(1)
D = GROUP.dimension
SUMS = Statistics(
    unpack_symmetric(GROUP.gram, D) - REGULARISATION * np.eye(D),
    view(GROUP.moment, "float64", (D,)),
    GROUP.count,
    GROUP.sum_squares,
)


def _upload(type_: str) -> StatisticsUpload:
    """What a device that has played would send up in one piece."""
    packed = parameters_of(SUMS)
    return StatisticsUpload(
        device="cam-1",
        type=type_,
        model=GROUP.model,
        schema=GROUP.schema,
        install="2" * 16,
        boot=1,
        seq=1,
        phase="online",
        dimension=D,
        gram=packed.gram,
        moment=packed.moment,
        count=GROUP.count,
        sum_squares=GROUP.sum_squares,
        columns=COLUMNS,
    )


def _after_merging(state_dir: Path, look: Callable[[BrokerAddress], Awaitable[Any]]) -> Any:
    """Run an aggregator on a real broker until what devices of two types sent is retained; then look."""

    async def playing() -> Any:
        async with mosquitto() as broker:
            settings = AggregatorSettings(id="agg", broker=broker.address, state_dir=state_dir)
            task = asyncio.create_task(run_aggregator(settings))
            hears = Endpoint("cam-1", subscriptions=((TOPICS.filter(WORDS), 1), (TOPICS.filter(ACK), 1)))
            async with open_connection(broker.address, hears) as link:
                listener = Listener(link)
                for type_ in ("phone", "board"):
                    await _merge(link, listener, type_)
            found = await look(broker.address)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return found

    return run(playing())


async def _merge(link: Connection, listener: Listener, type_: str) -> None:
    """Send until it is heard: the aggregator may still be starting."""
    stats = TOPICS.of(STATS, type=type_, device="cam-1")
    heard = asyncio.create_task(listener.delivery(TOPICS.of(WORDS, type=type_, model=GROUP.model)))
    while not heard.done():
        await link.publish(stats, encode(STATS, _upload(type_)), qos=1)
        await asyncio.wait([heard], timeout=0.1)
    await heard


def test_a_table_in_words_and_json_of_every_group_or_of_one_type(tmp_path: Path) -> None:
    async def look(address: BrokerAddress) -> tuple[list[Found], list[Found], str]:
        command = [sys.executable, "-m", "cans", "aggregator", "inspect", "--type", "board", "--json"]
        process = await asyncio.create_subprocess_exec(
            *command, "--broker", f"mqtt://127.0.0.1:{address.port}", stdout=subprocess.PIPE
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        both, one = await retained(address), await retained(address, type_="phone")
        return both, one, printed.decode()

    both, one, printed = _after_merging(tmp_path, look)
    assert [each.type for each in both] == ["board", "phone"]
    assert [each.type for each in one] == ["phone"]
    (line,) = printed.splitlines()
    board = json.loads(line)
    assert (board["type"], board["group"], board["version"], board["count"]) == (
        "board",
        "board",
        1,
        GROUP.count,
    )
    assert board["device_ms"] == pytest.approx(Truth().device_ms, rel=0.1)
    assert board["link_low_mbit_per_s"] < board["link_mbit_per_s"] < board["link_high_mbit_per_s"]
    assert not any(isinstance(leaf, dict | list) for leaf in board.values())
    page = io.StringIO()
    show(both, page)
    text = page.getvalue()
    assert "Mbit/s" in text
    assert "95 % interval" in text
    assert f"from {GROUP.count} measurements" in text
    # The same from the folder, to the digit, with the time of the file.
    offline = saved(tmp_path)
    assert [each.type for each in offline] == ["board", "phone"]
    assert [each.words.text for each in offline] == [each.words.text for each in both]
    assert [each.type for each in saved(tmp_path, "phone")] == ["phone"]
    with pytest.raises(ConfigurationError, match="no group tv; those that it holds are board, phone"):
        saved(tmp_path, "tv")


def _inspect(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["aggregator", "inspect", *arguments])


def test_no_group_yet_is_one_sentence_that_says_what_to_do() -> None:
    async def look() -> None:
        async with mosquitto() as broker:
            with pytest.raises(ConfigurationError, match="start `cans aggregator` and a device"):
                await retained(broker.address, quiet_s=0.05)

    run(look())


def test_groups_of_an_older_aggregator_and_noise_are_borne() -> None:
    async def look() -> list[Found]:
        async with mosquitto() as broker, open_connection(broker.address, Endpoint("writer")) as writer:
            older = TOPICS.of(GROUPS, type="phone", model=GROUP.model)
            await writer.publish(older, encode(GROUPS, GROUP), qos=1, retain=True)
            for topic in (
                TOPICS.of(WORDS, type="tv", model="m"),
                TOPICS.of(GROUPS, type="tv", model="m"),
            ):
                await writer.publish(topic, b"noise", qos=1, retain=True)
            await writer.publish("cans/v1/groups/UPPER/x", b"noise", qos=1, retain=True)
            return await retained(broker.address, quiet_s=0.3)

    (found,) = run(look())
    assert (found.type, found.words.count, found.words.link) == ("phone", GROUP.count, "")
    page = io.StringIO()
    show([found], page)
    assert "no member has said what the columns mean" in page.getvalue()


def test_nobody_draws_on_the_terminal_and_a_group_of_several_types_is_named() -> None:
    words = GroupWords(
        group="pis",
        model=GROUP.model,
        schema=GROUP.schema,
        origin=GROUP.origin,
        version=1,
        members=1,
        count=1,
        sent=0,
        changed="\x1b[2J",
        link="learned",
        text="\x1b[2J",
    )
    page = io.StringIO()
    show([Found("pi4", words)], page)
    assert "\x1b" not in page.getvalue()
    assert "pi4, group pis" in page.getvalue()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--state-dir", "/nonexistent"], "give the --state-dir of an aggregator"),
        (["--type", "#"], "device type '#' will not do"),
        (["--prefix", "Cans"], "give another --prefix"),
        (["--broker", "mqtt://127.0.0.1:1"], "nobody listens"),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence_and_exit_2(arguments: list[str], sentence: str) -> None:
    result = _inspect(*arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert sentence in result.stderr


def test_the_aggregator_itself_is_called_as_ever_and_its_part_takes_its_own_options(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["aggregator", "--id", "main", "--show-settings"])
    assert shown.exit_code == 0
    assert "id" in shown.stdout
    assert "flag" in shown.stdout
    lost = CliRunner().invoke(main, ["aggregator", "--state-dir", str(tmp_path), "inspect"])
    assert (lost.exit_code, len(lost.stderr.splitlines())) == (2, 1)
    assert "--state-dir stands before inspect" in lost.stderr
    file = tmp_path / "cans.toml"
    file.write_text('[broker]\nurl = "mqtt://file:1"\n[aggregator]\nid = "a"\nstate-dir = "elsewhere"\n')
    settings = _inspect("--config", str(file), "--show-settings").stdout
    assert f"file {file}" in next(line for line in settings.splitlines() if line.startswith("broker"))
    # The role's folder in the file does not make its inspection one of the folder.
    assert "default" in next(line for line in settings.splitlines() if line.startswith("state-dir"))


def test_its_help_needs_no_numbers() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from cans.__main__ import main\n"
        "assert CliRunner().invoke(main, ['aggregator', 'inspect', '--help']).exit_code == 0\n"
        "import cans.inspect_groups\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not {'torch', 'scipy', 'partition', 'bandits'} & loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
