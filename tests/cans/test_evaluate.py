"""`cans evaluate`, as a person uses it."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from bus.errors import ConfigurationError
from bus.messages import Feedback
from bus.recording.entries import Entry
from bus.topics import FEEDBACK, Topics
from bus.wire import encode
from cans.__main__ import main as command_line
from cans.evaluate import require_its_profile
from cans.recording.opening import opened
from lab.whatif.logged import Frames
from tests.reference.make import RECORDING
from tests.support.recordings import file_of, message
from tests.support.samples import SAMPLES

TOPICS = Topics()
SAID = next(each for _, each in SAMPLES if isinstance(each, Feedback))
TABLE = "lab/tables/mobilenet_v2.json"


def _run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, ["evaluate", *map(str, arguments)])
    return done.exit_code, done.output


def _recorded(path: Path, policies: tuple[str, ...] = ("mine",)) -> Path:
    """Forty frames of each policy, every second of which the device answers alone."""
    topic = TOPICS.of(FEEDBACK, type="pi4", device="cam-1")
    entries: list[Entry] = []
    for policy in policies:
        for seq in range(40):
            alone = {"cut": 9, "codec": "none", "answered_by": "device", "sent_bytes": 0, "total_ms": 100.0}
            sent = {"cut": 0, "codec": "jpeg", "answered_by": "edge", "sent_bytes": 9000, "total_ms": 60.0}
            changed = {"policy": policy, "seq": seq, "propensity": 0.5, **(sent if seq % 2 else alone)}
            said = msgspec.structs.replace(SAID, **changed)
            entries.append(message(len(entries), seq / 10.0, topic, bytes(encode(FEEDBACK, said))))
    return file_of(path, entries)


def test_what_the_reference_site_would_have_taken_alone() -> None:
    code, said = _run(RECORDING, "--policy", "device_only", "--policy", "edge_only_jpeg")
    assert code == 0
    assert "device_only" in said
    assert "Nothing by likelihoods" in said
    code, said = _run(RECORDING, "--policy", "edge_only_jpeg", "--json", "--device", "cam-2")
    (found,) = json.loads(said)
    assert (found["device"], found["of"], found["policy"]) == ("cam-2", "fedlinucb_dw", "edge_only_jpeg")
    assert found["frames"] == 8
    assert found["weighted"] is None
    assert found["measured"] > 0.0


def test_where_likelihoods_are_recorded_there_are_intervals(tmp_path: Path) -> None:
    file = _recorded(tmp_path / "site.mcap")
    code, said = _run(file, "--policy", "device_only", "--json")
    assert code == 0
    (found,) = json.loads(said)
    assert found["robust"]["mean"] == pytest.approx(100.0)
    assert found["weighted"]["mean"] == pytest.approx(100.0)
    code, said = _run(file, "--policy", "device_only")
    assert "100.0 (100.0 to 100.0)" in said
    code, said = _run(file, "--policy", "fixed:7/float32")
    assert "an arm that was never played" in said


def test_a_policy_that_learns_needs_a_profile_and_takes_switches(tmp_path: Path) -> None:
    file = _recorded(tmp_path / "site.mcap")
    assert _run(file, "--policy", "linucb", "--profile", TABLE, "--set", "beta_s=0.1")[0] == 0
    for arguments, sentence in (
        (("--policy", "linucb"), "give --profile"),
        (("--policy", "nobody"), "there is no policy 'nobody'"),
        (("--policy", "linucb", "--profile", "absent.json"), "cannot read absent.json"),
        (
            ("--policy", "linucb", "--profile", TABLE, "--set", "nothing=1"),
            "learners have no switch 'nothing'",
        ),
        (("--policy", "linucb", "--profile", TABLE, "--set", "regularisation=-1"), "cannot be set so"),
        (("--policy", "linucb", "--set", "odd"), "KEY=VALUE"),
        (("--policy", "device_only", "--device", "cam-9"), "no device 'cam-9' was recorded: cam-1"),
        (("--policy", "device_only", "--of", "nobody"), "say --of whose frames to look at: mine"),
        ((), "--policy"),
    ):
        code, said = _run(file, *arguments)
        assert (code, sentence in said) == (2, True), said


def test_whose_frames_are_meant_has_to_be_clear(tmp_path: Path) -> None:
    two = _recorded(tmp_path / "two.mcap", ("mine", "yours"))
    code, said = _run(two, "--policy", "device_only")
    assert (code, "mine, yours" in said) == (2, True)
    assert _run(two, "--policy", "device_only", "--of", "yours")[0] == 0
    silent = file_of(tmp_path / "silent.mcap", [message(0, 0.0, "cans/v1/x")])
    code, said = _run(silent, "--policy", "device_only")
    assert (code, "holds no feedback" in said) == (2, True)


def test_a_profile_of_another_network_is_refused(tmp_path: Path) -> None:
    file = _recorded(tmp_path / "site.mcap")
    with opened(file) as recording:
        frames = Frames()
        frames.take(recording, "cans/v1")
    (log,) = frames.logs()
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"version": 2, "model": "f" * 16}))
    with pytest.raises(ConfigurationError, match="is of another network"):
        require_its_profile(profile, log)
    profile.write_text(json.dumps({"version": 2, "model": log.model}))
    require_its_profile(profile, log)
    require_its_profile(None, log)
