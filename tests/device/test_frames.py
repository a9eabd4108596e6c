import errno
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bus.errors import ConfigurationError
from device.frames import FolderFrames, VideoFrames, open_source

SIZE = (16, 24)


def image(path: Path, grey: int) -> None:
    Image.new("RGB", (48, 32), (grey, grey, grey)).save(path)


def test_the_built_in_film_is_the_same_for_the_same_seed() -> None:
    one, two = open_source("crops", SIZE, seed=3), open_source("crops", SIZE, seed=3)
    for _ in range(3):
        first, second = one.next_frame(), two.next_frame()
        assert first is not None
        assert second is not None
        assert first.shape == (16, 24, 3)
        assert np.array_equal(first, second)
    one.close()


def test_a_folder_is_read_by_name_and_a_bad_image_skipped(tmp_path: Path) -> None:
    image(tmp_path / "b.png", 20)
    image(tmp_path / "c.png", 30)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not looked at")
    source = open_source(str(tmp_path), SIZE)
    assert isinstance(source, FolderFrames)
    greys = []
    while (frame := source.next_frame()) is not None:
        greys.append(int(frame[0, 0, 0]))
    assert greys == [20, 30]
    assert source.skipped == {tmp_path / "a.jpg"}


def test_a_folder_begins_again_when_more_frames_are_wanted(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 10)
    image(tmp_path / "b.png", 20)
    source = open_source(str(tmp_path), SIZE, cycle=True)
    frames = [source.next_frame() for _ in range(5)]
    assert [int(frame[0, 0, 0]) for frame in frames if frame is not None] == [10, 20, 10, 20, 10]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    for source in (str(bad), str(tmp_path)):
        with pytest.raises(ConfigurationError, match=r"bad\.jpg"):
            open_source(source, SIZE, cycle=True)
    with pytest.raises(ConfigurationError, match="there is no"):
        open_source(str(tmp_path / "absent"), SIZE)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigurationError, match="holds no image"):
        open_source(str(empty), SIZE)


def film(path: Path) -> Path:
    """Write a film of three grey frames, 40, 120 and 200."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        for grey in (40, 120, 200):
            picture = np.full((32, 48, 3), grey, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
    return path


def test_a_video_is_played_once_or_again_and_again(tmp_path: Path) -> None:
    path = film(tmp_path / "film.avi")
    once = open_source(str(path), SIZE)
    frames = []
    while (frame := once.next_frame()) is not None:
        assert frame.shape == (16, 24, 3)
        frames.append(int(frame.mean()))
    once.close()
    assert len(frames) == 3
    assert all(abs(got - want) < 12 for got, want in zip(frames, (40, 120, 200), strict=True))
    again = open_source(str(path), SIZE, cycle=True)
    assert all(again.next_frame() is not None for _ in range(7))
    again.close()


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no film")
    with pytest.raises(ConfigurationError, match=r"film\.mp4 as a video \(invalid data") as raised:
        open_source(str(path), SIZE)
    assert "Errno" not in str(raised.value)
    assert "give a video file" in str(raised.value)


def test_an_empty_source_is_not_the_folder_one_is_in() -> None:
    with pytest.raises(ConfigurationError, match="the source is empty: give --source crops, camera"):
        open_source("", SIZE)


def camera_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Let PyAV open a film where it is asked for a camera; return what it was asked for."""
    av = pytest.importorskip("av")
    asked: list[tuple[str, str | None]] = []
    real = av.open

    def opens(name: str, format: str | None = None) -> object:  # noqa: A002 - PyAV's word
        asked.append((name, format))
        return real(str(path))

    monkeypatch.setattr(av, "open", opens)
    return asked


@pytest.mark.parametrize(
    ("source", "device"), [("camera", "/dev/video0"), ("camera:/dev/video3", "/dev/video3")]
)
def test_a_camera_is_asked_for_by_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, device: str
) -> None:
    path = film(tmp_path / "film.avi")
    asked = camera_of(path, monkeypatch)
    camera = open_source(source, SIZE)
    frame = camera.next_frame()
    assert frame is not None
    assert frame.shape == (16, 24, 3)
    assert asked == [(device, "v4l2")]
    camera.close()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "add the user to the group video"),
        (OSError(errno.EBUSY, "Device or resource busy"), "is in use: end the other program"),
        (OSError(errno.ENOTTY, "Inappropriate ioctl"), r"is no camera \(inappropriate ioctl\)"),
        (ValueError("no container format 'v4l2'"), "this PyAV cannot read cameras"),
    ],
)
def test_a_camera_that_cannot_be_opened_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    av = pytest.importorskip("av")

    def opens(name: str, format: str | None = None) -> object:  # noqa: A002 - PyAV's word
        raise error

    monkeypatch.setattr(av, "open", opens)
    with pytest.raises(ConfigurationError, match=words) as raised:
        open_source("camera:/dev/video7", SIZE)
    assert "Errno" not in str(raised.value)


def test_a_camera_that_is_not_there_is_a_sentence_and_so_is_a_file_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("av")
    with pytest.raises(ConfigurationError, match=r"there is no camera /dev/video987: plug one in"):
        open_source("camera:/dev/video987", SIZE)
    text = tmp_path / "text"
    text.write_text("no camera")
    with pytest.raises(ConfigurationError, match="is no camera"):
        open_source(f"camera:{text}", SIZE)


def test_a_camera_that_is_unplugged_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera_of(film(tmp_path / "film.avi"), monkeypatch)
    camera = open_source("camera", SIZE)
    assert isinstance(camera, VideoFrames)

    def unplugged(_: int) -> object:
        raise OSError(errno.ENODEV, "No such device")

    camera._frames = map(unplugged, [0])
    with pytest.raises(ConfigurationError, match=r"the camera /dev/video0 broke off: no such device$"):
        camera.next_frame()
    camera.close()
