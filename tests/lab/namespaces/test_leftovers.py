"""What nobody who lives has made is found and removed; everything else is let be."""

import asyncio
import subprocess
import sys

from lab.marks import mark, marks
from lab.namespaces.device_net import DeviceNet
from lab.namespaces.leftovers import Leftovers, find_leftovers, remove_leftovers
from lab.namespaces.names import Names, run_of
from lab.namespaces.quota import find_groups
from tests.support.namespaces import needs_namespaces

_BLOCK = 508
_ABANDON = f"""
import asyncio, os
from lab.namespaces.device_net import DeviceNet
from lab.namespaces.names import Names, run_of

async def main():
    async with DeviceNet(Names(run_of("nobody"), 0, {_BLOCK})):
        os._exit(0)  # as if killed

asyncio.run(main())
"""


def test_leftovers_are_told_in_words() -> None:
    assert str(Leftovers()) == "nothing"
    assert not Leftovers()
    assert str(Leftovers(namespaces=("a", "b"), interfaces=("c",))) == "2 namespaces, 1 interfaces"


@needs_namespaces
def test_what_a_living_process_holds_is_no_leftover() -> None:
    names = Names(run_of(mark()), 0, _BLOCK)

    async def look() -> Leftovers:
        async with DeviceNet(names):
            return await asyncio.to_thread(find_leftovers, marks())

    assert names.namespace not in asyncio.run(look()).namespaces


@needs_namespaces
def test_what_a_dead_one_held_is_removed() -> None:
    names = Names(run_of("nobody"), 0, _BLOCK)
    groups = find_groups()
    assert groups is not None

    subprocess.run([sys.executable, "-c", _ABANDON], check=True)
    group = groups.make(names.namespace, 2.0)
    found = find_leftovers(marks())
    own = Leftovers((names.namespace,), tuple(sorted((names.uplink, names.lab_link))), (group,))
    assert set(own.namespaces) <= set(found.namespaces)
    assert set(own.interfaces) <= set(found.interfaces)
    assert set(own.groups) <= set(found.groups)
    remove_leftovers(own)
    after = find_leftovers(marks())
    assert names.namespace not in after.namespaces
    assert not set(own.interfaces) & set(after.interfaces)
    assert group not in after.groups
