"""Makes the recording that CI replays: `python -m tests.reference.make`, and look at what has changed.

A seeded site: two devices of one type, an edge worker and an aggregator, on drawn images, so that the
recording shows nobody. Made anew only when answers are to differ: every version must read what is there.
"""

import contextlib
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.site import Site, site

RECORDING = Path(__file__).with_name("site.mcap")
MODEL = "partition.networks.mobilenet_v2:MobileNetV2@64x64"
EDGE = "edge-1"
FRAMES = 8
CODECS = "float32,uint8,jpeg,int8-zstd"


def draw(folder: Path, seed: int = 7) -> None:
    """Write images of waves of chance directions and colours."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:64] / 64.0
    for number in range(FRAMES):
        angle, waves = rng.uniform(0.0, np.pi), rng.uniform(1.0, 8.0, 3)
        along = np.cos(angle) * x + np.sin(angle) * y
        pixels = 127.5 + 127.5 * np.sin(2.0 * np.pi * along[..., None] * waves + rng.uniform(0.0, 6.0, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


def start_edge(where: Site, prefix: str) -> None:
    """Start the edge worker whose answers are the reference."""
    served = ("--model", MODEL, "--codecs", CODECS, "--id", EDGE, "--threads", "1")
    where.start("edge", "edge", "--broker", where.url, "--prefix", prefix, *served)


def start_recorder(where: Site, out: Path, prefix: str) -> None:
    """Record all below a prefix, from the first retained state on."""
    where.start("record", "record", "--broker", where.url, "--prefix", prefix, "-o", str(out))


def stop_recorder(where: Site) -> int:
    """Let it finish its file."""
    where.processes["record"].send_signal(signal.SIGINT)
    return where.finished("record")


def main() -> int:
    """Record a site; the old recording stays until the new one is whole."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        where = stack.enter_context(site(Path(folder)))
        draw(Path(folder) / "images")
        out = Path(folder) / "site.mcap"
        where.broker()
        start_recorder(where, out, "cans/v1")
        where.aggregator()
        start_edge(where, "cans/v1")
        for number in (1, 2):
            played = ("--source", "images", "--frames", str(FRAMES), "--fps", "4", "--model", MODEL)
            chosen = ("--compare", "edge_only_jpeg,fixed:3/float32,fixed:5/int8-zstd", "--codecs", CODECS)
            who = ("--id", f"cam-{number}", "--type", "drawn", "--broker", where.url, "--threads", "1")
            where.start(f"cam-{number}", "device", *who, *played, *chosen, "--wait-edge-s", "60")
        if any(where.finished(f"cam-{number}") for number in (1, 2)):
            sys.stderr.write(where.log("cam-1") + where.log("cam-2"))
            return 1
        where.end("edge")
        where.end("aggregator")
        stop_recorder(where)
        RECORDING.write_bytes(out.read_bytes())
    sys.stderr.write(f"{RECORDING}: {RECORDING.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
