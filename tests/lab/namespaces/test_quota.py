"""CPU quotas: where they are, what is written, and that the kernel heeds it."""

import subprocess
import sys
from pathlib import Path

import pytest

from bus.errors import ConfigurationError
from lab.namespaces.names import Names, run_of
from lab.namespaces.quota import MEMBERS, CpuGroups, enter, find_groups, limits, members, remove
from tests.support.namespaces import needs_namespaces


@pytest.mark.parametrize(
    ("slowness", "period", "quota"),
    [
        (1.0, 4000, None),
        (2.5, 10_000, 4000),
        (8.0, 32_000, 4000),
        (500.0, 1_000_000, 2000),
        (5e3, 1_000_000, 1000),
    ],
)
def test_a_quota_is_a_tick_and_no_period_longer_than_the_kernel_takes(
    slowness: float, period: int, quota: int | None
) -> None:
    assert limits(2, slowness) == {"cpu.max": f"{quota or 'max'} {period}"}
    assert limits(1, slowness) == {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(quota or -1)}


def test_groups_are_found_in_either_version(tmp_path: Path) -> None:
    one, two, bare = (tmp_path / name for name in ("one", "two", "bare"))
    for place in (one, two, bare):
        place.mkdir()
    (one / "cpu.shares").write_text("1024")
    (two / "cgroup.controllers").write_text("cpuset cpu io\n")
    (bare / "cgroup.controllers").write_text("hugetlb\n")
    first = f"cgroup {one} cgroup rw,relatime,cpu,cpuacct 0 0"
    second, third = (f"cgroup2 {place} cgroup2 rw 0 0" for place in (two, bare))
    assert find_groups(f"{second}\n{first}") == CpuGroups(one, 1)
    assert find_groups(f"{third}\n{second}") == CpuGroups(two, 2)
    assert find_groups(f"tmpfs /tmp tmpfs rw 0 0\n{third}") is None


def test_a_version_2_group_is_made_of_files(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("io")
    group = CpuGroups(tmp_path, 2).make(Names("0" * 8, 0, 0).namespace, 4.0)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
    assert (group / "cpu.max").read_text() == "4000 16000"
    assert CpuGroups(tmp_path, 2).ours() == {group: "0" * 8}


def test_what_cannot_be_made_or_entered_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no CPU quota can be set"):
        CpuGroups(tmp_path / "absent", 1).make("cans-00000000-0", 2.0)
    with pytest.raises(ConfigurationError, match="cannot enter the cgroup"):
        enter(tmp_path / "absent")
    assert members(tmp_path) == []


_BUSY = """
import sys, time
from pathlib import Path
from lab.namespaces.quota import enter
enter(Path(sys.argv[1]))
while True:
    pass
"""


@needs_namespaces
def test_a_quota_is_heeded_and_its_group_removed_with_who_is_in_it() -> None:
    groups = find_groups()
    assert groups is not None
    group = groups.make(Names(run_of("a test"), 0, 0).namespace, 8.0)
    stat = group / "cpu.stat"
    busy = subprocess.Popen([sys.executable, "-c", _BUSY, str(group)])
    try:
        while "nr_throttled 0\n" in stat.read_text():
            assert busy.poll() is None
        assert (group / MEMBERS).read_text().split() == [str(busy.pid)]
        assert remove(group)
        assert busy.wait() == -9
    finally:
        busy.kill()
        busy.wait()
    assert not group.exists()
