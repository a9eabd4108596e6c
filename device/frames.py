"""Where frames come from: built-in moving crops, a folder of images, a video file, a camera.

A source is read from one thread at a time and may block. A frame is uint8 (height, width, 3), RGB, of the
size that the network takes.
"""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import structlog

from bus.errors import ConfigurationError
from partition.images import IMAGE_SUFFIXES, MovingCrops, fit_array, image_files, read_image

Frame = npt.NDArray[np.uint8]
Size = tuple[int, int]

CROPS = "crops"
CAMERA = "camera"
FIRST_CAMERA = "/dev/video0"
# Of the sentences about a source that is none.
_CHOICES = "--source crops, camera, a folder of images, an image or a video file"

_log = structlog.get_logger(__name__)


class FrameSource(Protocol):
    """Frames, one after another."""

    def next_frame(self) -> Frame | None:
        """Return the next frame, None at the end.

        Raises:
            ConfigurationError: the source broke, in a sentence.
        """
        ...

    def close(self) -> None:
        """Let go of files and cameras."""
        ...


@runtime_checkable
class TellsWhen(Protocol):
    """A source that knows beforehand when a frame comes; a frame rate of `cans device` is known anyway."""

    def tell_due(self, told: Callable[[float], None]) -> None:
        """Call `told`, in any thread, with the moment of each frame that is waited for; s, monotonic."""
        ...


def open_source(source: str, size: Size, *, seed: int = 0, cycle: bool = False) -> FrameSource:
    """Open what `--source` names.

    Args:
        source: "crops", a folder or an image, a video file, "camera" or "camera:/dev/video1"; not empty,
            which would be the folder one happens to be in.
        size: (height, width) of a frame.
        seed: of the moving crops.
        cycle: begin again at the end of a folder or a video.

    Raises:
        ConfigurationError: nothing there, or nothing that can be read.
    """
    if not source:
        raise ConfigurationError(f"the source is empty: give {_CHOICES}")
    if source == CROPS:
        return _Crops(seed, size)
    if source == CAMERA or source.startswith(CAMERA + ":"):
        return VideoFrames(source.partition(":")[2] or FIRST_CAMERA, size, camera=True)
    path = Path(source)
    if path.is_dir():
        return FolderFrames(path, size, cycle=cycle)
    if not path.exists():
        raise ConfigurationError(f"there is no {source}: give {_CHOICES}")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderFrames(path, size, cycle=cycle)
    return VideoFrames(source, size, cycle=cycle)


class _Crops:
    """The built-in film."""

    def __init__(self, seed: int, size: Size) -> None:
        self._frames = iter(MovingCrops(seed, size))

    def next_frame(self) -> Frame | None:
        return next(self._frames)

    def close(self) -> None:
        """Nothing is open."""


class FolderFrames:
    """The images of a folder by name, or one image.

    An image that cannot be read is skipped with a warning as long as there are others.

    Attributes:
        skipped: images that could not be read so far, once each.

    Raises:
        ConfigurationError: no image can be read; the sentence names the first.
    """

    def __init__(self, path: Path, size: Size, *, cycle: bool = False) -> None:
        self._size = size
        self._cycle = cycle
        self._paths = [path] if path.is_file() else image_files(path)
        self._next = 0
        self.skipped: set[Path] = set()
        # Reads ahead to the first good one, so that a hopeless folder is told at the start.
        self._ahead = self._read()

    def next_frame(self) -> Frame | None:
        """As `FrameSource.next_frame`."""
        frame, self._ahead = self._ahead, None
        return frame if frame is not None else self._read()

    def close(self) -> None:
        """Nothing is open."""

    def _read(self) -> Frame | None:
        while True:
            if self._next == len(self._paths):
                if not self._cycle:
                    return None
                self._next = 0
            path = self._paths[self._next]
            self._next += 1
            if path in self.skipped:
                continue
            try:
                return read_image(path, self._size)
            except ConfigurationError as error:
                self.skipped.add(path)
                if len(self.skipped) == len(self._paths):
                    raise
                _log.warning("image_skipped", reason=str(error), skipped=len(self.skipped))


class VideoFrames:
    """The frames of a video file or a camera, through PyAV.

    Args:
        name: path, or the camera's device file.
        camera: read it as a Video4Linux camera.
        cycle: begin again at the end of the file.

    Raises:
        ConfigurationError: PyAV is not installed, or the video cannot be opened.
    """

    def __init__(self, name: str, size: Size, *, camera: bool = False, cycle: bool = False) -> None:
        try:
            import av  # noqa: PLC0415 - an optional dependency
        except ImportError:
            raise ConfigurationError("video files and cameras need PyAV: say pip install av") from None
        self._av = av
        self._name = name
        self._size = size
        self._camera = camera
        self._cycle = cycle
        self._open()
        self._played = 0

    def _open(self) -> None:
        try:
            self._container = self._av.open(self._name, format="v4l2" if self._camera else None)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            sentence = _no_camera if self._camera else _no_video
            raise ConfigurationError(sentence(self._name, error)) from None
        if not self._container.streams.video:
            self._container.close()
            raise ConfigurationError(f"{self._name} holds no video: give a video file, or a folder of images")
        self._frames: Iterator[object] = self._container.decode(video=0)

    def next_frame(self) -> Frame | None:
        """As `FrameSource.next_frame`."""
        while True:
            try:
                frame = next(self._frames)
            except StopIteration:
                if not self._cycle or not self._played:
                    return None
                self.close()
                self._open()
                self._played = 0
                continue
            except (self._av.FFmpegError, OSError, ValueError) as error:
                what = "camera" if self._camera else "video"
                raise ConfigurationError(f"the {what} {self._name} broke off: {_reason(error)}") from None
            self._played += 1
            return fit_array(frame.to_ndarray(format="rgb24"), self._size)  # type: ignore[attr-defined] # untyped

    def close(self) -> None:
        """As `FrameSource.close`."""
        self._container.close()


def _no_camera(name: str, error: Exception) -> str:
    """Say why a camera cannot be opened, and what to do."""
    match error:
        case FileNotFoundError():
            return (
                f"there is no camera {name}: plug one in, or name another with --source camera:/dev/videoN "
                "(ls /dev/video* lists them)"
            )
        case PermissionError():
            return (
                f"this user may not open the camera {name}: add the user to the group video and log in again"
            )
        case OSError(errno=errno.EBUSY):
            return f"the camera {name} is in use: end the other program, or name another camera"
        case OSError():
            return f"{name} is no camera ({_reason(error)}): name one with --source camera:/dev/videoN"
        case _:
            # No format of this name: PyAV for macOS and Windows is built without Video4Linux.
            return f"this PyAV cannot read cameras ({_reason(error)}): they need Linux"


def _no_video(name: str, error: Exception) -> str:
    """Say why a file cannot be played, and what to do."""
    return (
        f"cannot read {name} as a video ({_reason(error)}): give a video file that ffmpeg plays, "
        "or an image, or a folder of images"
    )


def _reason(error: Exception) -> str:
    """What went wrong, without the number and the path that FFmpeg's errors print with it."""
    return (getattr(error, "strerror", None) or str(error)).lower()
