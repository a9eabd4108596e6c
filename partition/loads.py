"""What each arm asks of device, link and edge: counted work, payload sizes measured on built-in frames."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from partition.arms import NO_CODEC, Arm, Cut
from partition.bottleneck import BottleneckCodec
from partition.bundle import encode
from partition.codecs.base import Codec
from partition.contexts import Load
from partition.graphs.graph import Graph
from partition.graphs.work import OTHER_ELEMENTS, OTHER_OPS, Work, no_work
from partition.images import FRAMES_PER_PHOTOGRAPH, PHOTOGRAPHS, MovingCrops, Size
from partition.preprocessing import OPERATIONS, normalise

SIZING_SEED = 1992


def preprocessing_work(elements: int) -> Work:
    """Return the work of normalising a frame of that many elements, int64 (6,)."""
    work = no_work()
    work[OTHER_ELEMENTS] = OPERATIONS * elements
    work[OTHER_OPS] = OPERATIONS
    return work


def payload_bits(
    graph: Graph, places: Sequence[int], arms: Sequence[Arm], codecs: Mapping[str, Codec], size: Size
) -> list[float]:
    """Return the mean bits each arm sends, over one built-in frame per photograph.

    Sizes of compressed payloads depend on content, and a little on the processor: they are an expectation,
    local to whoever measured them, and no part of any hash.
    """
    film = MovingCrops(SIZING_SEED, size)
    bits = np.zeros((len(PHOTOGRAPHS), len(arms)))
    with torch.inference_mode():
        for shot in range(len(PHOTOGRAPHS)):
            frame = film.frame(shot * FRAMES_PER_PHOTOGRAPH)
            crossing: tuple[Tensor, ...] = (normalise(frame),)
            for cut in range(len(places) - 1):
                for arm in arms:
                    if arm.cut == cut:
                        codec = codecs[arm.codec]
                        encoded = codec.encode(frame) if codec.encodes_frames else encode(codec, crossing)
                        bits[shot, arm.index] = 8 * encoded.payload_bytes
                crossing = graph.piece(places[cut], places[cut + 1])(*crossing)
                crossing = crossing[: len(graph.frontiers[places[cut + 1]].tensors)]
    return [float(mean) for mean in bits.mean(axis=0)]


def load_of(
    arm: Arm, cut: Cut, codecs: Mapping[str, Codec], front: Work, frame_elements: int, bits: float
) -> Load:
    """Return what one arm asks for.

    Args:
        arm: the arm.
        cut: its cut.
        codecs: by name.
        front: int64 (6,), the network's work before the cut, without preprocessing.
        frame_elements: of one frame.
        bits: expected on the wire.
    """
    if arm.codec == NO_CODEC:
        return Load(front + preprocessing_work(frame_elements), 0.0, 0.0, 0.0, offload=False)
    codec = codecs[arm.codec]
    if codec.encodes_frames:
        # The frame crosses as it is, so the edge normalises it.
        elements = frame_elements
    else:
        elements = cut.elements
        front = front + preprocessing_work(frame_elements)
    added = None
    if isinstance(codec, BottleneckCodec):
        front, added = front + codec.front_work, codec.front_work + codec.back_work
    return Load(front, elements * codec.encode_work, elements * codec.decode_work, bits, True, added)
