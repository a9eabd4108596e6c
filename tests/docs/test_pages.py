"""The pages are followed as they stand, on a real broker: what they say to type works."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.reference.make import RECORDING
from tests.support.broker import need_mosquitto
from tests.support.documents import PAGES, Block, shell_blocks
from tests.support.page_shell import PageFailedError, page_shell

FOLLOWED = [page for page in PAGES if any(block.how != "not run" for block in shell_blocks(page))]
BROKER = Block(page="(given)", line=0, text="cans broker --port 1883", how="serve", more="broker:")
# Pages that are followed at the same time.
AT_ONCE = 4
# Of a network with drawn weights, as a reader would bring trained ones.
WEIGHTS = Block(
    page="(given)",
    line=0,
    text="""python -c '
from safetensors.torch import save_file
from partition.networks.zoo import BUILT_IN
save_file(BUILT_IN["mobilenet_v2"]().state_dict(), "mobilenet_v2.safetensors")'""",
    how="run",
    more="",
)

pytestmark = [pytest.mark.system, pytest.mark.mosquitto]


def given(page: Path, folder: Path) -> None:
    """Lay what the page takes for granted into the folder where it is followed."""
    if page.name in {"recordings.md", "dashboard.md"}:
        for name in ("site.mcap", "evening.mcap", "morning.mcap"):
            shutil.copy(RECORDING, folder / name)
        (folder / "killed.mcap").write_bytes(RECORDING.read_bytes()[:200_000])
    if page.parent.name == "broker-config":
        for template in page.parent.glob("*.conf"):
            shutil.copy(template, folder)


async def follow(folder: Path, blocks: list[Block]) -> None:
    """Follow blocks from the first to the last, then stop what still serves."""
    async with page_shell(folder) as shell:
        for block in blocks:
            await shell.follow(block)


@pytest.mark.timeout(600)
def test_pages_can_be_followed(tmp_path: Path) -> None:
    """Several at a time: most of it is waiting for processes to start."""
    need_mosquitto()
    if os.environ.get("CANS_REQUIRE_MOSQUITTO") == "1":
        assert shutil.which("mosquitto_sub"), (
            "CANS_REQUIRE_MOSQUITTO=1 but mosquitto-clients is not installed"
        )

    async def follow_all() -> None:
        at_once = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for number, page in enumerate(FOLLOWED):
                folder = tmp_path / f"{number}-{page.stem}"
                folder.mkdir()
                group.create_task(follow_page(page, folder, at_once), name=str(page))

    asyncio.run(follow_all())


async def follow_page(page: Path, folder: Path, at_once: asyncio.Semaphore) -> None:
    """Follow one page from its first block to its last."""
    blocks = [block for block in shell_blocks(page) if block.how != "not run"]
    if shutil.which("mosquitto_sub") is None and any("mosquitto_sub" in block.text for block in blocks):
        return  # Debian has it in mosquitto-clients
    given(page, folder)
    if page.name == "models-folder.md":
        blocks.insert(0, WEIGHTS)
    own_broker = any(command in block.text for block in blocks for command in ("cans broker", "mosquitto -c"))
    async with at_once:
        await follow(folder, blocks if own_broker else [BROKER, *blocks])


@pytest.mark.parametrize(
    ("text", "how", "more", "said"),
    [
        ("cans recording info gone.mcap", "run", "", "gone.mcap"),
        ("true", "run", "exit 1", "exit code 0"),
        ("echo well", "serve", "ready", "ended before 'ready'"),
        ("echo ready; sleep 60; exit 3", "try", "ready", "exit code"),
    ],
)
def test_a_page_that_is_wrong_is_told(tmp_path: Path, text: str, how: str, more: str, said: str) -> None:
    wrong = Block(page="page.md", line=7, text=text, how=how, more=more)
    with pytest.raises(PageFailedError, match=r"page\.md:7") as told:
        asyncio.run(follow(tmp_path, [wrong]))
    assert said in str(told.value)
