"""A local network's authorities: made once, renewed when they end, and a newcomer gets a certificate, too."""

import datetime
from pathlib import Path

import pytest

from node.config import Config
from node.pki.holder import gateway_files
from node.pki.profile import Kind, describe
from node.pki.trust import read_chain, read_trust
from testnet.authorities import open_authority, renew_due
from testnet.genesis import Network, build_network
from testnet.membership import make_node


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return build_network(tmp_path / "net", {}, nodes=4, base_port=None, tls=True)


def serial_of(config: Config) -> str:
    return describe(read_chain(gateway_files(config)[0].read_bytes())[0]).serial


def test_every_gateway_has_a_certificate_of_its_own_member(network: Network) -> None:
    assert network.roots is not None and read_trust(network.roots).roots
    for node in network.nodes:
        leaf, member = read_chain(gateway_files(node.config)[0].read_bytes())
        assert describe(leaf).subject.member == describe(member).subject.member == node.name
    made, _ = make_node(network, "newcomer")
    assert describe(read_chain(gateway_files(made.config)[0].read_bytes())[0]).subject.member == "newcomer"


def test_what_ends_soon_is_renewed_when_the_network_is_brought_up(network: Network) -> None:
    configs = [node.config for node in network.nodes]
    assert renew_due(network.directory, configs) == []
    late = configs[2]
    before = {config.member: serial_of(config) for config in configs}
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=25)
    request = late.path("gateway.csr").read_bytes()
    chain = open_authority(network.directory, late.member).issue_leaf(request, Kind.GATEWAY, past)
    gateway_files(late)[0].write_bytes(chain)
    assert renew_due(network.directory, configs) == [late.member]
    after = {config.member: serial_of(config) for config in configs}
    assert {member for member in before if before[member] != after[member]} == {late.member}
