"""A link that is slower than loopback: shapes rate, delay, jitter and loss of TCP streams.

Emulation, and labelled so wherever its figures appear. Each direction is a FIFO with a virtual clock:
a byte that arrives at time a leaves the link at max(a, clock) + bits / rate, and is handed on one delay
later. Departure times follow from arrivals alone, so a late wake-up of this process shifts one delivery
and never accumulates. A rate that moves is known ahead, as a trace, so bytes that wait are sent at the rates
of the time when it is their turn. A lost packet is what TCP makes of it: nothing behind it is handed on
before it was sent again. Buffers are bounded by stopping to read (back-pressure, as TCP makes it), never by
loss. This file must never look into what it carries.
"""

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

# Handed on in slices this long, so that a large message arrives as a stream and not in one piece.
_SLICE_S = 0.004
_MIN_BUFFER_BYTES = 64 * 1024
# Of payload, in a packet of Ethernet's size.
_PACKET_BYTES = 1448

# Seconds that bits take which begin to be sent at a second of a link's time: (begin_s, bits).
Transfer = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class Shape:
    """One direction of a link.

    Attributes:
        rate_mbit: million bits a second; None for no limit.
        delay_ms: one-way delay.
        jitter_ms: a piece is handed on up to so much later, uniformly; none overtakes another.
        loss: share of packets that are lost and sent again: what comes behind waits for them.
        stall_ms: how long that takes; Linux waits 200 ms at least before it sends again (RFC 6298 says 1 s).

    Raises:
        ValueError: no link is like that.
    """

    rate_mbit: float | None = None
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    stall_ms: float = 200.0

    def __post_init__(self) -> None:
        if (self.rate_mbit is not None and not self.rate_mbit > 0.0) or not self.delay_ms >= 0.0:
            raise ValueError(f"a link needs a rate > 0 and a delay >= 0, got {self}")
        if not (self.jitter_ms >= 0.0 and self.stall_ms >= 0.0 and 0.0 <= self.loss < 1.0):
            raise ValueError(f"a link needs jitter and stalls >= 0 and a loss from 0 to below 1, got {self}")

    def serialisation_s(self, size_bytes: int) -> float:
        """Seconds that so many bytes occupy the link."""
        return 0.0 if self.rate_mbit is None else size_bytes * 8.0 / (self.rate_mbit * 1e6)

    @property
    def slice_bytes(self) -> int:
        """Bytes handed on at once."""
        return 256 * 1024 if self.rate_mbit is None else max(512, int(self.rate_mbit * 1e6 / 8 * _SLICE_S))

    @property
    def buffer_bytes(self) -> int:
        """Bytes taken in before reading stops: what the delay keeps in flight, and some to schedule."""
        in_flight = 0.0 if self.rate_mbit is None else self.rate_mbit * 1e6 / 8 * self.delay_ms / 1e3
        return _MIN_BUFFER_BYTES + int(in_flight)


class _Direction:
    """One direction of the link, shared by all its connections: they queue behind each other."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.held = False
        self.carried_bytes = 0
        self._moving: Transfer | None = None
        self._began = 0.0
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self.open = False
        self._free_at = 0.0  # the virtual clock: when the link has sent all it was given
        self._due = 0.0  # when the last piece reaches the other side

    def play(self, moving: "Transfer | None", now: float) -> None:
        """Let the rate move from `now` on, or stand still again."""
        self._moving, self._began = moving, now

    def depart(self, now: float, size_bytes: int) -> float:
        """Occupy the link with bytes that arrived `now`; returns when they reach the other side."""
        if self.open:
            self._free_at = self._due = now
            return now
        begin = max(self._free_at, now)
        if self._moving is None:
            took = self.shape.serialisation_s(size_bytes)
        else:
            # What began to wait before the trace did is sent at its first rate.
            took = self._moving(max(0.0, begin - self._began), size_bytes * 8.0)
        self._free_at = begin + took
        shape = self.shape
        late_ms = shape.delay_ms + (shape.jitter_ms and self._random.uniform(0.0, shape.jitter_ms))
        if shape.loss and self._random.random() < 1.0 - (1.0 - shape.loss) ** -(-size_bytes // _PACKET_BYTES):
            late_ms += shape.stall_ms
        self._due = max(self._due, self._free_at + late_ms / 1e3)
        return self._due


class _Pipe:
    """One direction of one connection: arrivals in, deliveries out when they are due."""

    def __init__(self, direction: _Direction) -> None:
        self._direction = direction
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._source_paused = False
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.sink_full = False

    def arrived(self, data: bytes) -> None:
        """Take bytes in at this moment."""
        now = asyncio.get_running_loop().time()
        self._direction.carried_bytes += len(data)
        step = self._direction.shape.slice_bytes
        for offset in range(0, len(data), step):
            piece = data[offset : offset + step]
            self._queue.append((self._direction.depart(now, len(piece)), piece))
        self._waiting_bytes += len(data)
        if self._waiting_bytes > self._direction.shape.buffer_bytes and self.source is not None:
            self.source.pause_reading()
            self._source_paused = True
        self.deliver()

    def ended(self) -> None:
        """The source has closed: close the sink once everything before that is handed on."""
        self.source = None
        self._queue.append((self._direction.depart(asyncio.get_running_loop().time(), 0), None))
        self.deliver()

    def hurry(self) -> None:
        """Let all that waits be due now."""
        self._queue = deque((0.0, piece) for _, piece in self._queue)
        self.deliver()

    def deliver(self) -> None:
        """Hand on what is due, and come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        # write() may call pause_writing() before it returns, so this is asked again for every piece.
        while (sink := self._open_sink()) and self._queue and self._queue[0][0] <= loop.time():
            _, piece = self._queue.popleft()
            if piece is None:
                sink.close()
            else:
                self._waiting_bytes -= len(piece)
                sink.write(piece)
        self._take_more()
        if sink and self._queue:
            self._timer = loop.call_at(self._queue[0][0], self.deliver)

    def _open_sink(self) -> asyncio.Transport | None:
        """The far socket, if it can be written now."""
        if self.sink is None or self.sink_full or self._direction.held or self.sink.is_closing():
            return None
        return self.sink

    def _take_more(self) -> None:
        """Read again while half the buffer is still to go, so that the link does not run dry meanwhile."""
        if not self._source_paused or self._waiting_bytes > self._direction.shape.buffer_bytes // 2:
            return
        self._source_paused = False
        if self.source is not None and not self.source.is_closing():
            self.source.resume_reading()


class _End(asyncio.Protocol):
    """One socket: feeds the pipe that leads away from it, drains the one that leads to it."""

    def __init__(self, away: _Pipe, towards: _Pipe, ends: "set[_End]") -> None:
        self._away, self._towards, self._ends = away, towards, ends
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the two pipes to this socket."""
        stream = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from it
        stream.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends.add(self)
        self._transport = self._away.source = self._towards.sink = stream
        self._towards.deliver()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the pipe."""
        self._away.arrived(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the far end, after what was sent before."""
        del exc
        self._ends.discard(self)
        self._away.ended()

    def pause_writing(self) -> None:
        """The peer reads slowly: hold deliveries."""
        self._towards.sink_full = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._towards.sink_full = False
        self._towards.deliver()

    def nudge(self) -> None:
        """Deliver what has become due while the link was held."""
        self._towards.deliver()

    def hurry(self) -> None:
        """Deliver all that is on its way here."""
        self._towards.hurry()

    def abort(self) -> None:
        """Close with a reset instead of a goodbye, so that the peer sees a broken link."""
        if self._transport is None or self._transport.is_closing():
            return
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


class LinkProxy:
    """Listens on loopback or where told, and carries every connection to one target through one shaped link.

    Args:
        target_host: where connections lead.
        target_port: its port.
        host: address to listen on.
        up: from who connects towards the target.
        down: from the target back.
        seed: of jitter and losses.

    Example:
        >>> async with LinkProxy("127.0.0.1", 1883, up=Shape(4.0, 10.0)) as link:
        ...     print(link.port)
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        host: str = "127.0.0.1",
        up: Shape | None = None,
        down: Shape | None = None,
        seed: int = 0,
    ) -> None:
        self._target = (target_host, target_port)
        self._host = host
        self._up = _Direction(up or Shape(), 2 * seed)
        self._down = _Direction(down or Shape(), 2 * seed + 1)
        self._server: asyncio.Server | None = None
        self._ends: set[_End] = set()
        self._reaching: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the proxy is not running")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """Sockets open now, both sides counted."""
        return len(self._ends)

    @property
    def carried_bytes(self) -> int:
        """Bytes taken in so far, both ways."""
        return self._up.carried_bytes + self._down.carried_bytes

    async def start(self, port: int = 0) -> None:
        """Listen on a port; 0 for any free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, self._host, port)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._reaching):
            task.cancel()
        if self._reaching:
            await asyncio.wait(self._reaching)
        self.reset()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def reshape(self, *, up: Shape | None = None, down: Shape | None = None) -> None:
        """Change rate and delay for bytes that arrive from now on."""
        self._up.shape = up or self._up.shape
        self._down.shape = down or self._down.shape

    def play(self, up: Transfer | None) -> None:
        """Let the rate towards the target follow a trace from now on; None gives it its shape's rate again.

        Slices and buffers stay those of the shape's rate: give it one that the trace is about.
        """
        self._up.play(up, asyncio.get_running_loop().time())

    async def settle(self, quiet_s: float = 0.03, most_s: float = 10.0) -> None:
        """Carry what is on its way, or still to come, at once, until nothing has moved for a while.

        So an experiment gives the next one an idle link, whatever this one has left in buffers.
        """
        loop = asyncio.get_running_loop()
        self._up.open = self._down.open = True
        try:
            ends, since, seen = loop.time() + most_s, loop.time(), -1
            while loop.time() < min(ends, since + quiet_s):
                for end in tuple(self._ends):
                    end.hurry()
                if self.carried_bytes != seen:
                    since, seen = loop.time(), self.carried_bytes
                await asyncio.sleep(quiet_s / 10)
        finally:
            self._up.open = self._down.open = False

    def reset(self) -> None:
        """End every connection with a TCP reset; new ones are welcome."""
        for end in tuple(self._ends):
            end.abort()

    def black_hole(self, *, on: bool) -> None:
        """Hand nothing on in either direction while `on`; then go on where it stopped, as TCP would."""
        self._up.held = self._down.held = on
        if not on:
            for end in tuple(self._ends):
                end.nudge()

    def _accept(self) -> _End:
        up, down = _Pipe(self._up), _Pipe(self._down)
        near = _End(up, down, self._ends)
        task = asyncio.get_running_loop().create_task(self._reach(near, up, down), name="proxy-connect")
        self._reaching.add(task)
        task.add_done_callback(self._reaching.discard)
        return near

    async def _reach(self, near: _End, up: _Pipe, down: _Pipe) -> None:
        """Connect to the target; whoever connected to us is cut off if nobody is there."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _End(down, up, self._ends), *self._target)
        except OSError:
            near.abort()
