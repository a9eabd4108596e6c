"""Members and a group over a channel that loses, doubles, delays and reorders, with restarts of anyone.

Rows are small integers and lambda is a power of two, so every sum is exact and "equal" means to the bit.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bandits.federation import Group, Member
from bandits.statistics import Statistics

D = 3
LAMBDA = 0.5
DEVICES = 3
Key = tuple[int, int, int]  # device, boot, seq


@dataclass
class Device:
    """One device, what its disk holds, and the rows its live and stored local statistics stand for."""

    member: Member
    boot: int = 0
    local: np.ndarray = field(default_factory=lambda: np.zeros((D, D)))
    disk: Any = None

    def save(self) -> None:
        self.disk = copy.deepcopy((self.member.dump(), self.local))

    def restart(self) -> None:
        self.boot += 1
        self.member = Member(D, regularisation=LAMBDA, alpha=0.1, boot=self.boot)
        state, self.local = copy.deepcopy(self.disk)
        self.member.load(state)


class ExactlyOnce(RuleBasedStateMachine):
    @initialize(offline_rows=st.lists(st.integers(0, 4), min_size=DEVICES, max_size=DEVICES))
    def start(self, offline_rows: list[int]) -> None:
        self.devices: list[Device] = []
        self.grams: dict[Key, np.ndarray] = {}
        self.taken: dict[int, list[Key]] = {i: [] for i in range(DEVICES)}
        self.to_group: list[tuple[int, Any]] = []
        self.to_device: list[tuple[int, Any]] = []
        self.group = Group(D, "origin", regularisation=LAMBDA)
        self.group_disk = copy.deepcopy(self.group.dump())
        self.contents: dict[int, frozenset[Key]] = {0: frozenset()}
        for rows in offline_rows:
            device = Device(Member(D, regularisation=LAMBDA, alpha=0.1))
            X = np.arange(rows * D, dtype=float).reshape(rows, D) % 5
            device.member.join(Statistics.zeros(D).add_rows(X, np.ones(rows)))
            device.save()
            self.devices.append(device)

    @rule(i=st.integers(0, DEVICES - 1), x=st.lists(st.integers(-3, 3), min_size=D, max_size=D))
    def observes(self, i: int, x: list[int]) -> None:
        row = np.array([x], dtype=float)
        self.devices[i].member.observe(row, np.ones(1))
        self.devices[i].local = self.devices[i].local + row.T @ row

    @rule(i=st.integers(0, DEVICES - 1))
    def uploads(self, i: int) -> None:
        device = self.devices[i]
        if device.member.upload_due():
            upload = device.member.take_upload()
            key = (i, upload.boot, upload.seq)
            assert key not in self.grams
            self.grams[key] = upload.statistics.gram
            self.taken[i].append(key)
            if upload.kind == "online":
                assert np.array_equal(upload.statistics.gram, device.local)
                device.local = np.zeros((D, D))
            device.save()
        if device.member.in_flight is not None:
            self.to_group.append((i, device.member.in_flight))

    @rule(data=st.data(), keep=st.booleans(), crash=st.sampled_from(["no", "no", "before", "after"]))
    def group_receives(self, data: st.DataObject, keep: bool, crash: str) -> None:
        if not self.to_group:
            return
        at = data.draw(st.integers(0, len(self.to_group) - 1))
        i, upload = self.to_group[at] if keep else self.to_group.pop(at)
        key = (i, upload.boot, upload.seq)
        answer = self.group.merge(f"d{i}", "install", upload.boot, upload.seq, upload.statistics)
        if crash == "before":  # nothing was saved, so nothing was said
            self.group = Group.load(copy.deepcopy(self.group_disk))
            return
        self.contents.setdefault(self.group.version, self.contents[max(self.contents)] | {key})
        self.group_disk = copy.deepcopy(self.group.dump())
        if crash == "after":
            self.group = Group.load(copy.deepcopy(self.group_disk))
            return
        self.to_device.append((i, ("ack", upload.boot, upload.seq, answer.version)))
        self.broadcast()

    def broadcast(self) -> None:
        for i in range(DEVICES):
            self.to_device.append((i, ("group", self.group.version, self.group.statistics)))

    @rule()
    def subscribes_again(self) -> None:
        self.broadcast()

    @rule(data=st.data(), keep=st.booleans())
    def device_receives(self, data: st.DataObject, keep: bool) -> None:
        if self.to_device:
            at = data.draw(st.integers(0, len(self.to_device) - 1))
            self.deliver(*(self.to_device[at] if keep else self.to_device.pop(at)))

    def deliver(self, i: int, message: Any) -> None:
        member = self.devices[i].member
        if message[0] == "ack":
            member.acknowledged(message[1], message[2], "origin", message[3])
        else:
            member.adopt("origin", message[1], message[2])

    @rule(data=st.data())
    def loses(self, data: st.DataObject) -> None:
        queue = data.draw(st.sampled_from([self.to_group, self.to_device]))
        if queue:
            queue.pop(data.draw(st.integers(0, len(queue) - 1)))

    @rule(i=st.integers(0, DEVICES - 1))
    def device_saves(self, i: int) -> None:
        self.devices[i].save()

    @rule(i=st.integers(0, DEVICES - 1))
    def device_restarts(self, i: int) -> None:
        self.devices[i].restart()

    @invariant()
    def group_is_lambda_and_each_merged_upload_once(self) -> None:
        if not hasattr(self, "group"):
            return
        expected = LAMBDA * np.eye(D)
        for key in self.contents[self.group.version]:
            expected = expected + self.grams[key]
        assert np.array_equal(self.group.statistics.gram, expected)

    @invariant()
    def each_view_is_the_adopted_version_and_all_own_rows_once(self) -> None:
        if not hasattr(self, "group"):
            return
        for i, device in enumerate(self.devices):
            expected = LAMBDA * np.eye(D) + device.local
            for key in self.contents[device.member.version] | set(self.taken[i]):
                expected = expected + self.grams[key]
            offline = device.member.dump()["offline"]
            if offline is not None:
                expected = expected + offline["gram"]
            assert np.array_equal(device.member.view().gram, expected)

    def teardown(self) -> None:
        """Heal the network: everything arrives, and all agree."""
        if not hasattr(self, "group"):
            return
        for _ in range(3):
            for i in range(DEVICES):
                self.uploads(i)
            for i, upload in self.to_group:
                answer = self.group.merge(f"d{i}", "install", upload.boot, upload.seq, upload.statistics)
                self.contents.setdefault(
                    self.group.version, self.contents[max(self.contents)] | {(i, upload.boot, upload.seq)}
                )
                self.to_device.append((i, ("ack", upload.boot, upload.seq, answer.version)))
            self.to_group.clear()
            self.broadcast()
            for i, message in self.to_device:
                self.deliver(i, message)
            self.to_device.clear()
        assert self.contents[self.group.version] == frozenset(self.grams)
        self.group_is_lambda_and_each_merged_upload_once()
        self.each_view_is_the_adopted_version_and_all_own_rows_once()


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
