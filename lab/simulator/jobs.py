"""One run as a job that any process can do: bytes in, a file out.

A run's file appears whole or not at all, and says what it is a run of; so an interrupted experiment goes on
where it was, and a changed one does not mistake old files for its own.
"""

import functools
import hashlib
import io
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

import bandits
import bus
import edge
from bus.errors import ConfigurationError
from device import edges, limits
from lab import network_table
from lab.network_table import load_table
from lab.simulator import spec
from lab.simulator.engine import play_beside
from lab.simulator.runs import Run
from lab.simulator.site import SiteWorld
from lab.simulator.synthetic import SyntheticWorld
from lab.simulator.team import Team
from lab.simulator.teams import team_of
from lab.simulator.world import World

_FORMAT = 2
_AFTERWARDS = ("summary", "figures", "report", "pool", "units", "cluster", "compare")
_FINGERPRINT, _MESSAGES, _BYTES = b"cans.fingerprint", b"cans.messages", b"cans.bytes"
_ENGINE = b"cans.engine"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One policy, one seed.

    Attributes:
        policy: name in the experiment.
        path: of the file to write.
        fingerprint: of everything that the run follows from.
    """

    policy: str
    seed: int
    path: str
    fingerprint: str
    world: spec.World
    learner: spec.Learner

    @property
    def done(self) -> bool:
        """Whether its file is there, whole, and of this very run."""
        try:
            metadata = pq.read_schema(self.path).metadata or {}
        except (OSError, pa.ArrowException):
            return False
        return metadata.get(_FINGERPRINT) == self.fingerprint.encode()

    @property
    def engine(self) -> str:
        """Which engine has played what its file holds."""
        return str(pq.read_schema(self.path).metadata[_ENGINE].decode())


def jobs_of(experiment: spec.Experiment, out: Path) -> list[Job]:
    """Return every run of an experiment, seed by seed, so that an interrupted one has whole seeds."""
    jobs = []
    for seed in range(experiment.first_seed, experiment.first_seed + experiment.seeds):
        for policy, learner in experiment.policies.items():
            world = experiment.worlds[policy]
            path = out / "rounds" / policy / f"seed-{seed:06d}.parquet"
            jobs.append(
                Job(
                    policy=policy,
                    seed=seed,
                    path=str(path),
                    fingerprint=_fingerprint(world, learner, seed),
                    world=world,
                    learner=learner,
                )
            )
    return jobs


def sweep(out: Path) -> None:
    """Remove what killed runs left half written; a process that lives may still be writing its own."""
    for unfinished in out.glob("rounds/*/*.part"):
        process = unfinished.stem.rpartition(".")[2]
        if not (process.isdigit() and psutil.pid_exists(int(process))):
            unfinished.unlink(missing_ok=True)


def make_world(settings: spec.World, seed: int) -> World:
    """Return a world of these settings.

    Raises:
        ConfigurationError: it names something that is not there.
    """
    match settings:
        case spec.Synthetic():
            return SyntheticWorld(settings, seed)
        case spec.Site():
            return SiteWorld(settings, seed)


def do(job: bytes) -> str:
    """Do one job, given as the JSON of a `Job`; returns its policy."""
    asked = msgspec.json.decode(job, type=Job)
    do_beside([asked])
    return asked.policy


def do_beside(jobs: Sequence[Job]) -> None:
    """Do jobs of one seed in one world, whose turns are then drawn once for all of them."""
    for job, content in zip(jobs, _played(jobs), strict=True):
        put(content, job)


def do_elsewhere(job: bytes) -> bytes:
    """Do one job on another machine; returns what its file holds.

    Raises:
        ConfigurationError: the code, the network or the recordings that are here are not those of the job.
    """
    asked = msgspec.json.decode(job, type=Job)
    if _fingerprint(asked.world, asked.learner, asked.seed) != asked.fingerprint:
        raise ConfigurationError(
            f"{platform.node()} would play something else: give it the same version of cans, and networks "
            "and recordings under the same paths"
        )
    return _played([asked])[0]


def put(content: bytes, job: Job) -> None:
    """Write the file of a job, whole or not at all."""
    path = Path(job.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read(job: Job) -> Run:
    """Return the run that a job has written."""
    table = pq.read_table(job.path)
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    metadata = table.schema.metadata
    return Run(**columns, messages=int(metadata[_MESSAGES]), bytes=int(metadata[_BYTES]))


def _played(jobs: Sequence[Job]) -> list[bytes]:
    """Play runs of one seed in one world; returns what their files hold."""
    world = make_world(jobs[0].world, jobs[0].seed)
    runs = play_beside(world, [_team(job, world) for job in jobs])
    return [parquet(run, job, engine="plain") for run, job in zip(runs, jobs, strict=True)]


def _team(job: Job, world: World) -> Team:
    try:
        return team_of(job.learner, world, job.seed)
    except ConfigurationError as error:
        raise ConfigurationError(f"policies.{job.policy}: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"the policy {job.policy} cannot play here: {error}") from None


def parquet(run: Run, job: Job, *, engine: str) -> bytes:
    """Return what the file of a job holds: its run, and which engine has played it."""
    metadata = {
        _FINGERPRINT: job.fingerprint.encode(),
        _MESSAGES: str(run.messages).encode(),
        _BYTES: str(run.bytes).encode(),
        _ENGINE: engine.encode(),
    }
    names = ("at_s", "device", "arm", "cost", "regret")
    table = pa.table({name: getattr(run, name) for name in names}).replace_schema_metadata(metadata)
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    return content.getvalue()


def _fingerprint(world: spec.World, learner: spec.Learner, seed: int) -> str:
    said = [_code(), *(msgspec.json.encode(part) for part in (_FORMAT, learner, seed)), *_content(world)]
    return hashlib.sha256(b"\n".join(said)).hexdigest()[:16]


def world_fingerprint(world: spec.World) -> str:
    """Return a hash of all that devices meet there: two runs of one seed can be paired where it is equal."""
    return hashlib.sha256(b"\n".join(_content(world))).hexdigest()[:16]


def _content(world: spec.World) -> list[bytes]:
    """Return the settings of a world, and the content of the files that it names."""
    said = [msgspec.json.encode(world)]
    if isinstance(world, spec.Site):
        # Where the recordings lie does not matter, what they say does.
        said = [msgspec.json.encode(msgspec.structs.replace(world, traces=""))]
        said.append(msgspec.json.encode(load_table(world.network)))
        said += [path.name.encode() + path.read_bytes() for path in _recordings(world)]
    return said


def _recordings(world: spec.Site) -> list[Path]:
    """Return the files of recorded links that a world may play."""
    named = [Path(world.traces, kind.link.file) for kind in world.types if isinstance(kind.link, spec.Trace)]
    found = [*named, *(Path(world.traces).glob("*.csv") if world.traces else ())]
    return sorted({path for path in found if path.is_file()})


@functools.cache
def _code() -> bytes:
    """Return a hash of the code that a run follows from; what sums up and draws is not in it."""
    here = Path(__file__).parent
    imported = [Path(file).parent for file in (bandits.__file__, bus.__file__, edge.__file__)]
    packages = (*imported, here, here / "batch", here / "spec")
    sources = [path for package in packages for path in package.glob("*.py")]
    sources += [Path(network_table.__file__), Path(limits.__file__), Path(edges.__file__)]
    playing = sorted(path for path in sources if path.stem not in _AFTERWARDS)
    return hashlib.sha256(b"\n".join(path.read_bytes() for path in playing)).digest()
