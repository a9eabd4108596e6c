"""Names of everything that a run leaves in the kernel: recognisable, and whose.

A run's names hold a digest of its holder's mark (process number, birth), so that what a killed run has left
can be told from what a living one holds, whatever numbers are used again.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

NAMESPACES = Path("/run/netns")
"""Where ip-netns(8) keeps them, so that `ip netns` shows ours too."""
LARGEST_SITE = 32
"""Devices of one run: a block of 256 addresses holds two pairs of each."""
_NETWORK = (198, 18)
# RFC 2544 sets 198.18.0.0/15 aside for benchmarks: nobody's own network is there.
BLOCKS = 512
_DIGITS = 8
_NAMED = re.compile(rf"cans-?(?P<run>[0-9a-f]{{{_DIGITS}}})(-\d+|[ul]\d+)")


def run_of(mark: str) -> str:
    """Return how names tell who holds what they name, by his mark (`lab/marks.py`): 8 hexadecimal digits."""
    return hashlib.sha256(mark.encode()).hexdigest()[:_DIGITS]


def run_in(name: str) -> str | None:
    """Return whose a namespace, interface or cgroup of this name is; None where it is none of ours."""
    found = _NAMED.fullmatch(name)
    return found["run"] if found else None


@dataclass(frozen=True, slots=True)
class Names:
    """What belongs to one device.

    Attributes:
        run: as `run_of` gives it.
        number: of the device in its run, from 0 on.
        block: of addresses, which no other run has.
    """

    run: str
    number: int
    block: int

    @property
    def namespace(self) -> str:
        """Of the namespace, and of the cgroup."""
        return f"cans-{self.run}-{self.number}"

    @property
    def place(self) -> Path:
        """The namespace's file."""
        return NAMESPACES / self.namespace

    @property
    def uplink(self) -> str:
        """The root's end of the shaped pair; an interface's name has 15 characters at most."""
        return f"cans{self.run}u{self.number}"

    @property
    def lab_link(self) -> str:
        """The root's end of the pair that is not shaped."""
        return f"cans{self.run}l{self.number}"

    def address(self, *, lab: bool, inside: bool) -> str:
        """Return an end's address; the two of a pair make a /30.

        Args:
            lab: of the pair that is not shaped.
            inside: in the namespace.
        """
        return f"{prefix_of(self.block)}{8 * self.number + 4 * lab + 1 + inside}"


def prefix_of(block: int) -> str:
    """Return how the addresses of a block begin."""
    first, second = _NETWORK
    return f"{first}.{second + block // 256}.{block % 256}."
