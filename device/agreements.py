"""How often each arm's answer is the uncut network's: measured once, and kept in the state folder.

Only lossy arms are measured, on few frames, so that a device starts soon; `python -m partition.agreement`
takes as many as you like. The file is a cache: whatever is wrong with it, it is measured again.
This file must never decide which share will do.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from bus.errors import ConfigurationError
from partition.agreement import built_in_frames, measure
from partition.arms import Arm
from partition.images import Frame, Size, image_files, read_images
from partition.partitioned import PartitionedModel
from partition.training.checkpoint import write_atomically

BUILT_IN_FRAMES = 16
MOST_IMAGES = 64

_log = structlog.get_logger("device")


def agreements(model: PartitionedModel, images: Path | None, folder: Path | None) -> tuple[float, ...]:
    """Return of each arm the share of frames with the uncut network's best class; 1 where nothing is lost.

    Takes seconds, the first time.

    Args:
        model: what the device plays.
        images: a folder of images, of which at most `MOST_IMAGES` are taken, spread over their names; None
            for `BUILT_IN_FRAMES` built-in frames.
        folder: where what was found is kept; None keeps nothing.

    Raises:
        ConfigurationError: no image can be read.
    """
    lossy = [arm for arm in model.arms if arm != model.device_only and not model.codecs[arm.codec].lossless]
    frames = _frames(images, model.input_size)
    path = None if folder is None else folder / _name(model, frames)
    shares = _kept(path, lossy)
    if shares is None:
        _log.info("agreement_measured", frames=len(frames), arms=len(lossy), images=str(images or "built-in"))
        shares = {row.arm.label: row.top1 for row in measure(model, frames, lossy)}
        _keep(path, shares)
    return tuple(shares.get(arm.label, 1.0) for arm in model.arms)


def _frames(images: Path | None, size: Size) -> list[Frame]:
    if images is None:
        return list(built_in_frames(BUILT_IN_FRAMES, size))
    found = []
    for path, frame in read_images(image_files(images, MOST_IMAGES), size):
        if frame is None:
            _log.warning("image_skipped", path=str(path))
        else:
            found.append(frame)
    return found


def _name(model: PartitionedModel, frames: Sequence[Frame]) -> str:
    """Return the name of a file that is found again only for the same model, arms and frames."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(frame.tobytes())
    return f"agreement-{model.hash}-{model.schema.hash}-{digest.hexdigest()[:16]}.json"


def _kept(path: Path | None, lossy: Sequence[Arm]) -> dict[str, float] | None:
    if path is None:
        return None
    try:
        shares = msgspec.json.decode(path.read_bytes(), type=dict[str, float])
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("agreement_not_kept", path=str(path), reason=str(error))
        return None
    return shares if shares.keys() == {arm.label for arm in lossy} else None


def _keep(path: Path | None, shares: dict[str, float]) -> None:
    """Write what was found; a disk that is full costs the next start some seconds, and nothing else."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.encode(shares))
    except (OSError, ConfigurationError) as error:
        _log.warning("agreement_not_kept", path=str(path), reason=str(error))
