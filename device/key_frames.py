"""Whether a frame is a key frame: whether it shows something else than the frame before it.

The structural similarity (SSIM) of two grey frames is below 0.8: Zhang et al., "Autodidactic Neurosurgeon",
WWW 2021, whose policy (`bandits/ans.py`) explores less on such frames. Computed at the size that the network
takes, because a smaller copy calls other frames the same: 1.8 ms for 224 x 224 on one x86-64 core. So it runs
in the source's thread, and only if a policy that wants to know is among those that play.
This file must never be called on the event loop.
"""

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

SIMILAR = 0.8
# Luma of ITU-R BT.601, the grey of JPEG and of most cameras.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@runtime_checkable
class HeedsKeyFrames(Protocol):
    """A policy that wants to be told, before each `select`, whether the frame is a key frame."""

    key_frame: bool


class KeyFrames:
    """Compares each frame with the one before it; the first is a key frame."""

    def __init__(self) -> None:
        self._before: npt.NDArray[np.float32] | None = None

    def __call__(self, frame: npt.NDArray[np.uint8]) -> bool:
        """Say whether a frame is a key frame, and remember it.

        Args:
            frame: shape (height, width, 3), RGB, both sides at least 7; each call the same shape.
        """
        # Here, because importing it takes 0.3 s, and a session that asks for the protocol above needs none.
        from skimage.metrics import structural_similarity  # noqa: PLC0415

        grey = frame.astype(np.float32) @ _LUMA
        before, self._before = self._before, grey
        return before is None or bool(structural_similarity(before, grey, data_range=255.0) < SIMILAR)
