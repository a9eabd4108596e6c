"""A device whose frames or weights cannot be read: one sentence that says what to do, exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.broker import need_mosquitto
from tests.support.site import site

pytestmark = pytest.mark.system


def refused(*arguments: str) -> str:
    """Run `cans device ARGUMENTS`, which must end by itself with exit code 2; return its sentence."""
    tiny = ("--model", "tests.support.tiny_network:make", "--policy", "device_only", "--wait-edge-s", "0")
    done = subprocess.run(
        [sys.executable, "-m", "cans", "device", *tiny, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "Errno" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("cans: ")
    return last


def test_a_missing_camera_a_text_as_video_and_a_text_as_weights(tmp_path: Path) -> None:
    pytest.importorskip("av")
    need_mosquitto()
    text = tmp_path / "bad.txt"
    text.write_text("hello\n")
    with site(tmp_path) as here:
        here.broker()
        broker = ("--broker", here.url)
        said = refused("--source", "camera:/dev/video987", *broker)
        assert "there is no camera /dev/video987: plug one in" in said
        said = refused("--source", str(text), *broker)
        assert "bad.txt as a video (invalid data found when processing input): give a video file" in said
        said = refused("--weights", str(text), *broker)
        assert "bad.txt is not a PyTorch state dictionary: give a file written by torch.save(" in said
