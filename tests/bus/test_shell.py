import asyncio

import pytest

from bus.shell import Shell


class Recorder:
    """A session that answers each event from a table and keeps what it saw."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers = answers
        self.seen: list[str] = []
        self.deadline: float | None = None

    def handle(self, event: str, now: float) -> list[str]:
        self.seen.append(event)
        if event == "arm":
            self.deadline = now
        if event == "woken":
            self.deadline = None
        return self.answers.get(event, [])

    def next_deadline(self) -> float | None:
        return self.deadline


def test_an_event_posted_by_a_command_comes_after_the_commands_before_it() -> None:
    async def main() -> None:
        session = Recorder({"a": ["post b", "post c"], "b": ["post d"]})
        done: list[str] = []

        def execute(command: str) -> None:
            done.append(command)
            shell.post(command.removeprefix("post "))

        shell = Shell(session, execute, "woken")
        shell.post("a")
        assert session.seen == ["a", "b", "c", "d"]
        assert done == ["post b", "post c", "post d"]

    asyncio.run(main())


def test_the_session_is_woken_at_its_deadline() -> None:
    async def main() -> None:
        woken = asyncio.Event()
        session = Recorder({"woken": ["tell"]})
        shell = Shell(session, lambda _command: woken.set(), "woken")
        timer = asyncio.create_task(shell.run_timer(), name="timer")
        await asyncio.sleep(0)  # the timer now waits for ever: nothing has a deadline
        shell.post("arm")
        await asyncio.wait_for(woken.wait(), 5)
        assert session.seen == ["arm", "woken"]
        timer.cancel()

    asyncio.run(main())


def test_a_session_that_fails_ends_its_node_and_not_silently() -> None:
    class Broken(Recorder):
        def handle(self, event: str, now: float) -> list[str]:
            raise AssertionError(event)

    async def main() -> None:
        shell = Shell(Broken({}), lambda _command: None, "woken")
        for _ in range(2):  # the second post is not mistaken for one made by a command of the first
            with pytest.raises(AssertionError, match="a"):
                shell.post("a")

    asyncio.run(main())
