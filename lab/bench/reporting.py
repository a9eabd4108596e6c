"""What a person waits for: `cans partition NETWORK --html FILE`, from its start to the page."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from bus.errors import ConfigurationError
from lab.bench.rows import Row

LIMIT_S = 60.0
NETWORK = "mobilenet_v2"


def run(*, quick: bool) -> Iterator[Row]:
    """Make one page, with all defaults; quickly, of one frame and one batch size."""
    fewer = ["--frames", "1", "--batches", "1"] if quick else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        command = [sys.executable, "-m", "cans", "partition", NETWORK, "--html", str(path), *fewer]
        started = perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        took = perf_counter() - started
        if done.returncode != 0 or not path.is_file():
            raise ConfigurationError(f"cans partition made no page: {done.stderr.strip()[-200:]}")
    yield Row(f"{NETWORK}: cans partition --html, end to end", took, "s", LIMIT_S)
