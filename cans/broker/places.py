"""Where a broker listens and keeps its state, checked before it starts: one sentence says what is wrong."""

import errno
import socket
import tempfile
from pathlib import Path

from bus.errors import ConfigurationError


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free now.

    Raises:
        ConfigurationError: the host is not ours.
    """
    try:
        with socket.create_server((host, 0), family=_family(host)) as listener:
            return int(listener.getsockname()[1])
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, error) from None


def reachable(host: str) -> str:
    """The address under which a listener on `host` is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound


def require_writable(folder: Path) -> None:
    """Make the folder if it is not there.

    Raises:
        ConfigurationError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(folder, error) from None


def unwritable(folder: Path, error: OSError) -> ConfigurationError:
    """The sentence for a folder without the rights or the room that a broker needs."""
    return ConfigurationError(
        f"the broker's state folder {folder} cannot be written ({error.strerror}): choose another"
    )


def require_free(host: str, port: int) -> None:
    """Look whether a broker can listen there.

    Raises:
        ConfigurationError: port taken, host not ours, not allowed.
    """
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        # As the brokers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except PermissionError:
            raise ConfigurationError(f"port {port} needs more rights: choose one above 1023") from None
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise ConfigurationError(
                    f"port {port} on {host} is taken: stop what listens there or choose another port (0: any)"
                ) from None
            raise _cannot_listen(host, error) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _cannot_listen(host: str, error: OSError | UnicodeError) -> ConfigurationError:
    why = error.strerror if isinstance(error, OSError) else "no host name"
    return ConfigurationError(f"cannot listen on {host}: {why}; choose another host")
