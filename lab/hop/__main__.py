"""`python -m lab.hop lab/experiments/hop.toml --out DIR`: what the broker costs as share of a frame.

Plays the same frames by MQTT (mosquitto where it is installed, and the embedded broker), direct TCP and gRPC,
over loopback and emulated links; writes DIR/rows.json and DIR/summary.json, and a page with a figure.
Wants a machine that does nothing else, for some minutes.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from bus.errors import ConfigurationError
from lab.hop.page import in_short, write_page
from lab.hop.playing import measure
from lab.hop.rows import ENGINES, Row
from lab.hop.shares import Found, found
from lab.hop.spec import load

_NAMED = ("cans", "python", "torch", "numpy", "aiomqtt", "paho-mqtt", "amqtt", "mosquitto", "uvloop")
# Of the cores, by other work: from then on the page says so before anything else.
_BUSY = 0.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, write, say what came out."""
    description, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m lab.hop", description=description, epilog=more)
    parser.add_argument("experiment", type=Path, help="TOML file, as lab/experiments/hop.toml")
    parser.add_argument("--out", type=Path, default=Path("out/hop"), help="folder to write (out/hop)")
    parser.add_argument("--page", type=Path, help="Markdown page to write (OUT/hop.md)")
    parser.add_argument(
        "--quick", action="store_true", help="one arm, two links, few frames: to see that it runs"
    )
    asked = parser.parse_args(arguments)
    try:
        hop = load(asked.experiment)
        hop = hop.quick() if asked.quick else hop
        asked.out.mkdir(parents=True, exist_ok=True)
        others = os.getloadavg()[0]
        rows = measure(hop)
        said = found(rows)
        _write(asked.out, rows, said)
        command = f"python -m lab.hop {asked.experiment}" + " --quick" * asked.quick
        write_page(
            hop,
            said,
            asked.page or asked.out / "hop.md",
            command=command,
            provenance=_provenance(asked.experiment),
            busy=_busy(others),
            rival_brokers=all(any(each.transport.endswith(e) for each in said.figures) for e in ENGINES),
        )
    except ConfigurationError as error:
        print(f"hop: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hop: cannot write {asked.out}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(in_short(hop, said))
    return 0


def _busy(load: float) -> str:
    """Return what is to be said of a machine that had other work, empty if it had little."""
    cores = os.cpu_count() or 1
    return (
        "" if load < _BUSY * cores else f"others kept busy: load {load:.1f} on {cores} cores before the run"
    )


def _write(out: Path, rows: Sequence[Row], said: Found) -> None:
    for name, content in (("rows", rows), ("summary", said)):
        (out / f"{name}.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
        )


def _provenance(experiment: Path) -> str:
    """Return versions and machine, as `cans version` knows them."""
    asked = subprocess.run(
        [sys.executable, "-m", "cans", "version", "--json"], capture_output=True, text=True, check=True
    )
    versions = json.loads(asked.stdout)
    known = ", ".join(f"{name} {versions[name]}" for name in _NAMED)
    machine = f"{versions['machine']}, {os.cpu_count()} cores"
    return f"From `{experiment.name}`, {known}, grpcio {version('grpcio')}; {machine}."


if __name__ == "__main__":
    sys.exit(main())
