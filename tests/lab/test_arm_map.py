"""The command around pruning: from a measured table to a report and a picture."""

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from bus.errors import ConfigurationError
from lab.arm_map import costs_of_table, main
from lab.arm_map_figure import draw
from lab.network_table import load_table
from partition.pruning.arm_costs import ArmCosts
from partition.pruning.best_map import best_map, ends_of, middle_gain

TABLE = load_table("mobilenet_v2")


def test_costs_are_those_of_the_table_stretched() -> None:
    costs = costs_of_table(TABLE, slowness=10.0)
    jpeg = TABLE.arms.index("0/jpeg")
    device_s = (TABLE.head_ms[jpeg] + TABLE.encode_ms[jpeg]) / 100.0
    assert costs.front_s[jpeg] == pytest.approx(device_s)
    assert costs.edge_s[jpeg] == pytest.approx(TABLE.edge_ms[jpeg] / 100.0)
    latency = costs.latency_s(8e6, 5.0, 0.01)[jpeg]
    assert latency == pytest.approx(
        device_s + 0.01 + TABLE.payload_bytes[jpeg] / 1e6 + TABLE.edge_ms[jpeg] / 500.0
    )
    assert costs.offload.tolist() == [label != "end/none" for label in TABLE.arms]
    assert [costs.labels[end] for end in ends_of(costs)] == ["0/float32", "0/uint8", "0/jpeg", "end/none"]


@pytest.mark.parametrize("slowness", ["0", "nan", "inf", "-1"])
def test_a_slowness_that_is_none_is_refused_in_a_sentence(
    slowness: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mobilenet_v2", f"--slowness={slowness}"]) == 2
    assert capsys.readouterr().err.startswith("arm_map: a device ")


def test_the_report_accounts_for_every_arm(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "map.svg"
    assert main(["mobilenet_v2", "--slowness", "30", "--speedup", "1.5", "50", "--svg", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("3 of 43 arms can be best, 4 best or within 5% of the best, at 0.1 to 100 Mbit/s")
    rows = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert sorted(rows) == sorted(TABLE.arms)
    assert "0/jpeg: best from " in out
    assert "beats the best of 0/float32, 0/uint8, 0/jpeg, end/none" in out
    words = "".join(ET.parse(path).getroot().itertext())
    assert "0/jpeg" in words
    assert "link, Mbit/s" in words


@pytest.mark.parametrize("mbit", [["0", "1"], ["2", "1"], ["nan", "1"]])
def test_ranges_that_are_none_are_refused_in_a_sentence(
    mbit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mobilenet_v2", "--mbit", *mbit]) == 2
    assert capsys.readouterr().err.startswith("arm_map: ")


def test_a_map_is_the_same_bytes_each_time_and_groups_small_areas(tmp_path: Path) -> None:
    # Twelve cuts, each best for a while: the four smallest share one colour.
    share = np.append(np.linspace(0.0, 0.9, 12), 1.0)
    offload = share < 1.0
    costs = ArmCosts(
        tuple(f"arm{index}" for index in range(13)),
        share,
        np.where(offload, 1e5 * (1.0 - share) ** 3, 0.0),
        1.0 - share,
        offload,
    )
    found = best_map(costs, np.geomspace(1e4, 1e8, 60), np.geomspace(1.0, 50.0, 40))
    assert len(found.shares()) > 8
    gain = middle_gain(costs, found, ends=(0, 12))
    for name in ("one.svg", "two.svg"):
        draw(found, costs.labels, tmp_path / name, title="twelve cuts", gain=gain)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    words = "".join(ET.parse(tmp_path / "one.svg").getroot().itertext())
    assert f"{len(found.shares()) - 8} others" in words


def test_what_cannot_be_drawn_or_written_is_refused(tmp_path: Path) -> None:
    costs = costs_of_table(TABLE)
    with pytest.raises(ConfigurationError, match="cannot be drawn"):
        draw(best_map(costs, [1e6], [2.0, 3.0]), costs.labels, tmp_path / "map.svg", title="")
    found = best_map(costs, [1e6, 2e6], [2.0, 3.0])
    with pytest.raises(ConfigurationError, match="cannot write the map"):
        draw(found, costs.labels, tmp_path / "nowhere" / "map.svg", title="")
