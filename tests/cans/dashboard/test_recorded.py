"""A dashboard over a recording: what is shown at a moment is what was known then, forwards and back."""

from pathlib import Path

import pytest

from bus.errors import ConfigurationError
from cans.dashboard import rows
from cans.dashboard.source import Recorded

REFERENCE = Path("tests/reference/site.mcap")


def _shown(source: Recorded) -> tuple[object, ...]:
    site, now = source.site, source.now()
    return (
        rows.devices(site, rows.Query(), now),
        rows.edges(site, now),
        rows.aggregators(site),
        rows.alarms(site, now),
        rows.refusals(site),
        {key: words.version for key, words in site.words.items()},
    )


def test_winding_back_and_forth_shows_the_same_moment_the_same() -> None:
    source = Recorded(REFERENCE)
    assert source.length_s > 5.0
    moments = [0.0, source.length_s, 3.0, 4.5, 1.0, 4.5, 3.0, source.length_s, 0.0, 99.0]
    shown: dict[float, tuple[object, ...]] = {}
    for at_s in moments:
        source.wind(at_s)
        assert source.now() == at_s
        assert shown.setdefault(at_s, _shown(source)) == _shown(source)
    for at_s in (3.0, 4.5):
        fresh = Recorded(REFERENCE)
        fresh.wind(at_s)
        assert _shown(fresh) == shown[at_s]
    frames = []
    for at_s in (0.0, 4.5, 9.0):
        source.wind(at_s)
        frames.append(sum(seen.frames for seen in source.site.devices.values()))
    assert frames[0] == 0 < frames[1] < frames[2] == 64


def test_a_file_that_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        Recorded(tmp_path / "none.mcap")
    (tmp_path / "text.mcap").write_text("no recording")
    with pytest.raises(ConfigurationError, match="cannot read"):
        Recorded(tmp_path / "text.mcap")
