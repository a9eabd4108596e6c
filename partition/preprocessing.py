"""From a frame to the network's input; it runs on whichever side of the cut the frame ends up.

Mean and deviation are ImageNet's, as torchvision's weights expect them.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# What one pass over the image costs, for the contexts: cast, scale, shift.
OPERATIONS = 3

# x / 255 / deviation - mean / deviation, with both factors folded.
_SCALE = torch.tensor([1.0 / (255.0 * deviation) for deviation in DEVIATION]).view(1, 3, 1, 1)
_SHIFT = torch.tensor([-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]).view(
    1, 3, 1, 1
)


def normalise(frame: npt.NDArray[np.uint8]) -> Tensor:
    """Return a frame (height, width, 3) as a float32 tensor (1, 3, height, width), normalised, contiguous.

    Both sides run exactly these operations, so a frame sent as uint8 gives the same bits at the edge.
    """
    # torch refuses to alias memory it might write to, and a received frame is read-only: this copies once.
    planes = np.ascontiguousarray(frame.transpose(2, 0, 1)[None], dtype=np.float32)
    return torch.from_numpy(planes).mul_(_SCALE).add_(_SHIFT)
