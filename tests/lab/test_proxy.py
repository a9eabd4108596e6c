"""The emulated link: right rate, right delay, bounded buffers, and its faults."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import numpy as np
import pytest

from lab.proxy import LinkProxy, Shape
from lab.simulator.links import MovingLink


async def _sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a length, then that many bytes, answer with one byte; until the peer leaves."""
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            await reader.readexactly(size)
            writer.write(b"!")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def _through(up: Shape, down: Shape, use: Callable[[LinkProxy, Peer], Awaitable[None]]) -> None:
    async def main() -> None:
        server = await asyncio.start_server(_sink, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with AsyncExitStack() as stack:
            stack.callback(server.close)
            link = await stack.enter_async_context(LinkProxy("127.0.0.1", port, up=up, down=down))
            peer = await asyncio.open_connection("127.0.0.1", link.port)
            stack.callback(peer[1].close)
            await use(link, peer)

    asyncio.run(main())


async def _transfer_s(peer: Peer, size: int) -> float:
    reader, writer = peer
    clock = asyncio.get_running_loop().time
    start = clock()
    writer.write(size.to_bytes(4, "big") + bytes(size))
    assert await reader.readexactly(1) == b"!"
    return clock() - start


@pytest.mark.parametrize(("rate_mbit", "size"), [(4.0, 100_000), (10.0, 300_000), (20.0, 500_000)])
def test_a_transfer_takes_bits_over_rate_plus_two_delays(rate_mbit: float, size: int) -> None:
    async def use(_: LinkProxy, peer: Peer) -> None:
        # The best of three: a busy machine only ever makes a transfer longer.
        took = min([await _transfer_s(peer, size) for _ in range(3)])
        expected = (size + 5) * 8 / (rate_mbit * 1e6) + 2 * 0.010
        assert expected * 0.98 <= took <= expected * 1.10

    _through(Shape(rate_mbit, 10.0), Shape(rate_mbit, 10.0), use)


def test_each_direction_has_its_own_rate() -> None:
    async def use(_: LinkProxy, peer: Peer) -> None:
        assert min([await _transfer_s(peer, 100_000) for _ in range(3)]) < 0.1

    _through(Shape(None), Shape(0.1), use)  # the answer is one byte


def test_connections_of_one_link_share_its_rate() -> None:
    async def use(link: LinkProxy, peer: Peer) -> None:
        other = await asyncio.open_connection("127.0.0.1", link.port)
        async with asyncio.TaskGroup() as group:
            one = group.create_task(_transfer_s(peer, 100_000))
            two = group.create_task(_transfer_s(other, 100_000))
        other[1].close()
        assert max(one.result(), two.result()) >= 200_000 * 8 / 8e6 * 0.98

    _through(Shape(8.0), Shape(8.0), use)


def test_the_sender_is_held_back_instead_of_bytes_piling_up() -> None:
    async def use(_: LinkProxy, peer: Peer) -> None:
        reader, writer = peer
        size = 32 * 1024 * 1024
        writer.write(size.to_bytes(4, "big") + bytes(size))
        # At 8 Mbit/s most of it must still be with the sender: kernel buffers and ours are bounded.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.readexactly(1)
        transport = writer.transport
        assert transport.get_write_buffer_size() > size // 2
        transport.abort()

    _through(Shape(8.0), Shape(8.0), use)


def test_a_rate_changed_at_run_time_holds_for_what_follows() -> None:
    async def use(link: LinkProxy, peer: Peer) -> None:
        assert await _transfer_s(peer, 50_000) >= 0.098  # 4 Mbit/s: 100 ms
        link.reshape(up=Shape(40.0))
        assert min([await _transfer_s(peer, 50_000) for _ in range(3)]) < 0.05

    _through(Shape(4.0), Shape(4.0), use)


def test_reset_breaks_connections_and_new_ones_are_welcome() -> None:
    async def use(link: LinkProxy, peer: Peer) -> None:
        await _transfer_s(peer, 10)
        link.reset()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await peer[0].readexactly(1)
        again = await asyncio.open_connection("127.0.0.1", link.port)
        await _transfer_s(again, 10)
        again[1].close()

    _through(Shape(), Shape(), use)


def test_a_black_hole_delivers_nothing_until_it_ends() -> None:
    async def use(link: LinkProxy, peer: Peer) -> None:
        await _transfer_s(peer, 10)
        link.black_hole(on=True)
        reader, writer = peer
        writer.write((10).to_bytes(4, "big") + bytes(10))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.readexactly(1)
        link.black_hole(on=False)
        assert await reader.readexactly(1) == b"!"

    _through(Shape(), Shape(), use)


def test_who_connects_is_cut_off_when_the_target_is_away() -> None:
    async def main() -> None:
        server = await asyncio.start_server(_sink, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        async with LinkProxy("127.0.0.1", port) as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()

    asyncio.run(main())


def test_a_goodbye_arrives_after_what_was_sent_before_it() -> None:
    async def main() -> None:
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.set_result(await reader.read())
            writer.close()

        server = await asyncio.start_server(hear, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with LinkProxy("127.0.0.1", port, up=Shape(1.0, 5.0)) as link:
            _, writer = await asyncio.open_connection("127.0.0.1", link.port)
            writer.write(bytes(5000))
            writer.close()
            assert len(await heard) == 5000
        server.close()

    asyncio.run(main())


@pytest.mark.parametrize("shape", [(0.0, 0.0), (-1.0, 0.0), (1.0, -1.0)])
def test_a_link_that_cannot_be_is_refused(shape: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="rate > 0"):
        Shape(*shape)


def test_a_rate_that_moves_is_that_of_the_time_when_it_is_a_byte_s_turn() -> None:
    rates = np.array([8.0, 0.8, 8.0])  # a second each

    async def use(link: LinkProxy, peer: Peer) -> None:
        moving = MovingLink(rates, 0.0)
        link.play(lambda begin, bits: float(moving.transfer_s(np.array(begin + 0.9), np.array(bits))))
        # 100 ms at 8 Mbit/s, a second at 0.8, and the rest at 8: bytes that wait meet all three.
        took = await _transfer_s(peer, 300_000)
        expected = 0.1 + 1.0 + (300_004 * 8 - 0.8e6 - 0.8e6) / 8e6
        assert expected * 0.98 <= took <= expected * 1.10
        link.play(None)
        assert min([await _transfer_s(peer, 100_000) for _ in range(3)]) < 0.8

    _through(Shape(8.0), Shape(8.0), use)


def test_jitter_delays_and_lets_nothing_overtake() -> None:
    async def use(_: LinkProxy, peer: Peer) -> None:
        took = [await _transfer_s(peer, 10) for _ in range(20)]
        assert min(took) >= 2 * 0.002
        assert max(took) - min(took) > 0.005
        # In order, or the sink would wait for bytes that never come.
        await _transfer_s(peer, 200_000)

    _through(Shape(None, 2.0, jitter_ms=20.0), Shape(None, 2.0), use)


def test_a_lost_packet_holds_up_what_is_behind_it() -> None:
    async def use(_: LinkProxy, peer: Peer) -> None:
        took = [await _transfer_s(peer, 10) for _ in range(30)]
        stalled = [each for each in took if each >= 0.1]
        assert 5 <= len(stalled) <= 25  # one of two is lost
        assert min(took) < 0.05

    _through(Shape(None, loss=0.5, stall_ms=100.0), Shape(), use)


@pytest.mark.parametrize("wrong", [{"loss": 1.0}, {"loss": -0.1}, {"jitter_ms": -1.0}, {"stall_ms": -1.0}])
def test_jitter_and_losses_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a link needs jitter"):
        Shape(**wrong)
