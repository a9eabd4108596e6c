"""Names tell what is ours, and whose."""

import ipaddress

import pytest

from lab.namespaces.names import BLOCKS, LARGEST_SITE, Names, run_in, run_of


def test_every_name_of_a_run_tells_it() -> None:
    run = run_of("123:456")
    names = Names(run, LARGEST_SITE - 1, 0)
    for name in (names.namespace, names.uplink, names.lab_link):
        assert run_in(name) == run
    assert run_of("123:457") != run


def test_an_interface_has_no_longer_name_than_the_kernel_takes() -> None:
    names = Names(run_of("x"), LARGEST_SITE - 1, 0)
    assert max(len(names.uplink), len(names.lab_link)) <= 15


@pytest.mark.parametrize(
    "name", ["eth0", "cans", "cans-lab", "cans-0123456-1", "cans-01234567", "a-cans-01234567-1"]
)
def test_nobody_elses_names_are_ours(name: str) -> None:
    assert run_in(name) is None


def _network(names: Names, *, lab: bool) -> ipaddress.IPv4Network:
    ends = [
        ipaddress.IPv4Interface(f"{names.address(lab=lab, inside=inside)}/30") for inside in (False, True)
    ]
    assert ends[0] != ends[1]
    assert all(end.ip in list(ends[0].network.hosts()) for end in ends)
    return ends[0].network


def test_pairs_have_networks_of_their_own_in_the_range_for_benchmarks() -> None:
    networks = {
        _network(Names("0" * 8, number, block), lab=lab)
        for block in (0, BLOCKS - 1)
        for number in range(LARGEST_SITE)
        for lab in (False, True)
    }
    assert len(networks) == 2 * 2 * LARGEST_SITE
    assert all(each.subnet_of(ipaddress.IPv4Network("198.18.0.0/15")) for each in networks)
