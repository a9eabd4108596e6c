"""Small whole numbers in as few bits as their chances allow, each channel with chances of its own.

The coder is an asymmetric numeral system (arXiv 1311.2540), of the library constriction. Payload: its words,
unsigned, four bytes each, little-endian; all of them are read, or the payload is refused.
What it must never do: read a payload with other chances than it was written with; they belong into a hash.
"""

import numpy as np
import numpy.typing as npt
from constriction.stream.model import Categorical
from constriction.stream.stack import AnsCoder

from bus.errors import RemoteProtocolError
from bus.tensors import Payload

_WORD = np.dtype("<u4")
# constriction writes chances with 24 bits, so no symbol takes more.
_MOST_BITS = 24


class Coder:
    """Writes and reads arrays of one shape; without state, so any thread may use it.

    Args:
        chances: float32 (..., S), for each place of an array how likely each of S symbols is, not normed;
            leading dimensions may be 1 where all places have the same.
        shape: of the arrays.
    """

    def __init__(self, chances: npt.NDArray[np.float32], shape: tuple[int, ...]) -> None:
        self.shape = shape
        symbols = chances.shape[-1]
        whole = np.broadcast_to(chances / chances.sum(-1, keepdims=True), (*shape, symbols))
        self._chances = np.ascontiguousarray(whole.reshape(-1, symbols), np.float32)
        self._model = Categorical(perfect=False)

    @property
    def expected_bytes(self) -> float:
        """What an array takes that is as likely as the chances say."""
        used = self._chances[self._chances > 0].astype(np.float64)
        return float(-(used * np.log2(used)).sum()) / 8

    @property
    def most_bytes(self) -> int:
        """What any array takes at most."""
        return _WORD.itemsize * (len(self._chances) * _MOST_BITS // 32 + 2)

    def write(self, symbols: npt.NDArray[np.uint8]) -> bytes:
        """Return an array of `shape`, each of 0 to S - 1, as a payload."""
        coder = AnsCoder()
        coder.encode_reverse(symbols.reshape(-1).astype(np.int32), self._model, self._chances)
        written: bytes = coder.get_compressed().astype(_WORD).tobytes()
        return written

    def read(self, payload: Payload) -> npt.NDArray[np.uint8]:
        """Return what `write` was given; nothing is allocated beyond the array and twice the payload.

        Raises:
            RemoteProtocolError: bytes that no array was written as.
        """
        size = len(memoryview(payload).cast("B"))
        if size % _WORD.itemsize or size > self.most_bytes:
            raise RemoteProtocolError(
                "tensor", f"{size} bytes are no payload of up to {self.most_bytes} in words of 4"
            )
        words = np.frombuffer(payload, _WORD).astype(np.uint32)
        if size and not words[-1]:
            raise RemoteProtocolError("tensor", "the last word of a payload is never zero")
        coder = AnsCoder(words)
        symbols = coder.decode(self._model, self._chances).astype(np.uint8)
        if not coder.is_empty():
            raise RemoteProtocolError("tensor", "the payload ends elsewhere than its symbols")
        return symbols.reshape(self.shape)
