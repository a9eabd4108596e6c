"""The socket under the MQTT library: buffered reads, gathered writes, and what went wrong.

The library reads a packet's header byte by byte, one system call each; here they come out of a buffer.
It also turns every socket error into "connection lost"; here the error is kept, so that a wrong
certificate can be told from a pulled cable.
"""

import contextlib
import socket
import ssl

_BUFFER_BYTES = 64 * 1024
_UNSENT_BYTES = 256 * 1024
# No packet of ours is larger; a peer that announces more gets its bytes in pieces, allocated as they come.
_LARGEST_BYTES = 16 * 1024 * 1024


def connect_socket(
    host: str, port: int, *, timeout_s: float, context: ssl.SSLContext | None
) -> "BufferedSocket":
    """Connect, with TLS if there is a context. Blocks: for a thread.

    Raises:
        OSError: nobody there, no such host, no answer.
        ssl.SSLError: whatever goes wrong once connected, if TLS was wanted.
    """
    plain = socket.create_connection((host, port), timeout=timeout_s)
    if context is None:
        return BufferedSocket(plain)
    # Not at once: the socket must be ours to close if the handshake fails.
    try:
        secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        plain.close()
        raise
    try:
        secured.do_handshake()
    except ssl.SSLError:
        secured.close()
        raise
    except OSError as error:
        # A server that speaks no TLS hangs up, or waits for more: told apart from a dead host here.
        secured.close()
        raise ssl.SSLError(f"no TLS handshake: {error}") from error
    return BufferedSocket(secured)


class BufferedSocket:
    """Has the methods that the MQTT library calls on a socket.

    Args:
        sock: connected; its TLS handshake done if it has one.

    Attributes:
        fault: the error that ended it, if one did.
        first_byte: of all that came, None before: what does not begin with a CONNACK is no broker.
    """

    def __init__(self, sock: socket.socket) -> None:
        # Nagle with delayed ACK costs 40 ms each way, and the policies would learn that timer.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # What the kernel takes and cannot send yet is stale before it leaves: seconds of activations
            # on a slow link. Linux and macOS can be told to take less.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self.fault: OSError | None = None
        self.first_byte: int | None = None
        self._sock = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = 0
        self._end = 0
        self._large: bytearray | None = None
        self._large_filled = 0

    def recv(self, size: int) -> bytes | bytearray:
        """Return up to `size` bytes; b"" at the end of the stream.

        A large payload is gathered in one buffer and returned whole: one allocation, however many reads.

        Raises:
            OSError: as the socket does.
        """
        if self._large is not None or _BUFFER_BYTES <= size <= _LARGEST_BYTES:
            return self._recv_large(size)
        if self._start == self._end:
            self._end = self._recv_into(self._buffer)
            self._start = 0
            if self.first_byte is None and self._end:
                self.first_byte = self._buffer[0]
        end = min(self._start + size, self._end)
        data = bytes(self._buffer[self._start : end])
        self._start = end
        return data

    def _recv_large(self, size: int) -> bytes | bytearray:
        if self._large is None:
            self._large = bytearray(size)
            self._large_filled = self._end - self._start
            self._large[: self._large_filled] = self._buffer[self._start : self._end]
            self._start = self._end
        while self._large_filled < len(self._large):
            with memoryview(self._large) as whole, whole[self._large_filled :] as rest:
                got = self._recv_into(rest)  # raises when there is no more for now
            if got == 0:
                return b""
            self._large_filled += got
        large, self._large = self._large, None
        return large

    def _recv_into(self, room: memoryview) -> int:
        try:
            return self._sock.recv_into(room)
        except OSError as error:
            self._note(error)
            raise

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Write some of `data`; return how much.

        Raises:
            OSError: as the socket does.
        """
        try:
            return self._sock.send(data)
        except OSError as error:
            self._note(error)
            raise

    def send_parts(self, head: bytes, payload: bytes | bytearray | memoryview) -> int:
        """Write head and payload in one system call; return how much was written, maybe nothing.

        Raises:
            OSError: if the connection is gone.
        """
        try:
            if self._tls is None:
                return self._sock.sendmsg((head, payload))
            return self._sock.send(head + payload)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except OSError as error:
            self._note(error)
            raise

    def _note(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError | ssl.SSLWantReadError | ssl.SSLWantWriteError):
            self.fault = error

    def pending(self) -> int:
        """Bytes that were read from the kernel but not taken: no readiness event will tell of them."""
        return self._end - self._start + (self._tls.pending() if self._tls is not None else 0)

    def reset(self) -> None:
        """Drop the connection as a crash would: without a goodbye."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def fileno(self) -> int:
        """Its file descriptor."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the library calls it so
        """Choose blocking calls."""
        self._sock.setblocking(flag)
