"""Wrong, expired, revoked and foreign certificates at gateways and at the port of operators. Nobody
who shows one comes in, nobody who asks is deceived, and blocks are made all the while.

A thief of a certificate that was revoked, a member whose certificate ran out, a rival with a CA of its own.
"""

import asyncio
import datetime
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from contextlib import suppress

import pytest

from node.config import split_address
from node.errors import RefusedError
from node.gateway.vetting import Vetted
from node.keyfile import KIND_TLS_KEY, TESTNET, load_key, seal
from node.model.keys import SigningKey
from node.pki.authority import Authority
from node.pki.holder import gateway_files
from node.pki.profile import (
    Kind,
    Subject,
    describe,
    load_private_key,
    public_bytes,
)
from node.pki.serving import use_identity
from node.pki.trust import read_chain
from node.transport.tls import TlsIdentity, make_certificate
from testnet.authorities import NAMES, TRUST_NAME, open_authority, write_trust
from testnet.genesis import NetworkNode
from tests.security.closed import OPERATORS, Closed, operator, passphrase_of, renew, seen, shows, until

DAY = datetime.timedelta(days=1)


def put(node: NetworkNode, identity: TlsIdentity) -> None:
    """As an operator would who copies files by hand."""
    certificate_file, key_file = gateway_files(node.config)
    key_file.unlink()
    point = public_bytes(load_private_key(identity.private_key).public_key())
    seal(key_file, KIND_TLS_KEY, identity.private_key, passphrase_of(node), public_key=point, limits=TESTNET)
    certificate_file.write_bytes(identity.certificate)


async def height(closed: Closed) -> int:
    async with closed.cluster.network.client() as client:
        return (await client.node_info()).height


def test_gateways_with_wrong_certificates_are_refused_and_blocks_go_on(closed: Closed) -> None:
    """Expired, foreign, for another address: three of four gateways. A certificate that ends stops no consensus."""
    _, *nodes = closed.cluster.network.nodes
    expired, foreign, elsewhere = nodes

    def gateway(node: NetworkNode, *names: str) -> Subject:
        return Subject(Kind.GATEWAY, node.name, names)

    async def scenario() -> None:
        put(expired, closed.issued(gateway(expired, *NAMES), ago=31 * DAY, days=30))
        put(foreign, closed.issued(gateway(expired, *NAMES), closed.foreign))
        put(elsewhere, closed.issued(gateway(elsewhere, "10.9.9.9")))
        words = {expired.name: "has expired", foreign.name: "nobody vouches", elsewhere.name: "another address"}

        async def are_refused() -> bool:
            found = {node.name: await seen(closed, node) for node in nodes}
            return all(isinstance(said, str) and words[name] in said for name, said in found.items())

        await until(are_refused)
        for node in nodes:
            async with closed.cluster.network.client(node.gateway) as client:
                with pytest.raises(RefusedError, match="untrusted-node"):
                    await client.node_info()
        before = await height(closed)

        async def go_on() -> bool:
            return await height(closed) > before

        await until(go_on)
        assert "certificate-expired use=gateway" in (expired.directory / "node.log").read_text()
        doctor = [sys.executable, "-m", "cli.main", "node", "doctor", "--json", "--config", str(expired.config_path)]
        told = subprocess.run(doctor, capture_output=True, text=True, check=False, timeout=30).stdout
        assert "certificate-expired" in {finding["code"] for finding in json.loads(told)["findings"]}

        serials = {node.name: renew(closed, node) for node in nodes}

        async def are_good_again() -> bool:
            return all([await shows(closed, node, serials[node.name]) for node in nodes])

        await until(are_good_again)

    asyncio.run(scenario())
    assert closed.cluster.agreement().root is not None


def test_a_file_that_is_no_certificate_changes_nothing(closed: Closed) -> None:
    node = closed.cluster.network.nodes[1]
    certificate_file, _ = gateway_files(node.config)
    good = certificate_file.read_bytes()

    async def is_told() -> bool:
        return "gateway-certificate-not-used" in (node.directory / "node.log").read_text()

    async def scenario() -> None:
        certificate_file.write_bytes(good[:300])
        await until(is_told)
        assert isinstance(await seen(closed, node), Vetted)
        certificate_file.write_bytes(good)

    asyncio.run(scenario())


def test_a_revoked_gateway_is_refused_by_who_has_the_list_at_once(closed: Closed) -> None:
    """Without the list, the short life of certificates is the bound: that is said in docs/identity.md."""
    node = closed.cluster.network.nodes[2]
    before = closed.trust
    stolen = describe(read_chain(gateway_files(node.config)[0].read_bytes())[0]).serial
    now = datetime.datetime.now(datetime.UTC)
    open_authority(closed.directory, node.name).revoke(stolen, "key-compromise", now)
    write_trust(closed.directory)

    async def scenario() -> None:
        assert await seen(closed, node) == "shows a certificate that is not good any more: it was revoked"
        assert isinstance(await seen(closed, node, before), Vetted)
        serial = renew(closed, node, another_key=True)

        async def is_good_again() -> bool:
            return await shows(closed, node, serial)

        await until(is_good_again)

    asyncio.run(scenario())


def test_a_revoked_ca_is_refused_with_all_that_it_signed(closed: Closed) -> None:
    """The root's list, in a copy of what clients have: the network's own stays as it is."""
    node = closed.cluster.network.nodes[3]
    root, member = open_authority(closed.directory, None), open_authority(closed.directory, node.name)
    kept = {path: path.read_bytes() for path in root.directory.iterdir()}
    root.revoke(describe(member.chain[0]).serial, "key-compromise", datetime.datetime.now(datetime.UTC))
    trust = closed.trust + (root.directory / "ca.crl").read_bytes()
    for path, data in kept.items():
        path.write_bytes(data)
    found = asyncio.run(seen(closed, node, trust))
    assert found == "shows a certificate that is not good any more: the CA that signed it was revoked"


# The port of operators.


def fetch(closed: Closed, identity: TlsIdentity | None, path: str = "/metrics") -> int | None:
    """The HTTP status that an operator with ``identity`` gets; None if TLS lets it not in."""
    context = ssl.create_default_context(cadata=closed.trust.decode())
    if identity is not None:
        use_identity(context, identity)
    host, port = split_address(closed.metrics)
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def test_operators_of_the_member_alone_come_in(closed: Closed) -> None:
    mine, other = closed.cluster.network.nodes[0].name, closed.cluster.network.nodes[1].name
    alice = closed.issued(operator(mine))
    assert [fetch(closed, alice, path) for path in ("/metrics", "/healthz", "/readyz")] == [200, 200, 200]
    self_made = make_certificate(mine)
    strangers = {
        "nobody": None,
        "expired": closed.issued(operator(mine), ago=31 * DAY, days=30),
        "not yet": closed.issued(operator(mine), ago=-2 * DAY),
        "foreign": closed.issued(operator(other), closed.foreign),
        "self-made": TlsIdentity(*self_made),
        "a gateway": closed.issued(Subject(Kind.GATEWAY, mine, NAMES)),
    }
    assert {name: fetch(closed, shown) for name, shown in strangers.items()} == dict.fromkeys(strangers)
    assert fetch(closed, closed.issued(operator(other))) == 403  # a competitor's operator, with a good certificate
    with socket.create_connection(split_address(closed.metrics)) as plain:
        plain.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        plain.settimeout(10)
        with suppress(ConnectionResetError):
            assert b"watt_" not in plain.recv(65536)


def test_a_revoked_operator_is_out_without_a_restart(closed: Closed) -> None:
    node = closed.cluster.network.nodes[0]
    alice, bob = closed.issued(operator(node.name)), closed.issued(operator(node.name))
    assert fetch(closed, alice) == 200
    serial = describe(read_chain(alice.certificate)[0]).serial
    open_authority(closed.directory, node.name).revoke(serial, "key-compromise", datetime.datetime.now(datetime.UTC))
    write_trust(closed.directory)
    (node.directory / OPERATORS).write_bytes((closed.directory / TRUST_NAME).read_bytes())

    async def is_out() -> bool:
        return await asyncio.to_thread(fetch, closed, alice) == 403

    asyncio.run(until(is_out))
    assert fetch(closed, bob) == 200


def test_a_client_that_stays_takes_up_the_renewed_certificate_with_its_next_connection(closed: Closed) -> None:
    node = closed.cluster.network.nodes[3]

    async def scenario() -> None:
        async with closed.cluster.network.client(closed.gateway.address) as client:
            before = (await client.node_info()).height
            serial = renew(closed, node, another_key=True)

            async def is_renewed() -> bool:
                return await shows(closed, node, serial)

            await until(is_renewed)
            closed.gateway.cut()  # as a line that fails, or a node that is started anew: a call under way is lost

            async def answers() -> bool:
                try:
                    return (await client.node_info()).height >= before
                except RefusedError as error:
                    assert error.code == "unreachable"
                    return False

            await until(answers)

    asyncio.run(scenario())


def test_a_plain_gateway_that_others_can_reach_does_not_start(closed: Closed) -> None:
    """Refused before anything is opened, on a copy of a node's files."""
    node = closed.cluster.network.nodes[1]
    for text, code in (
        (f'[gateway]\nlisten = "{node.gateway}"', "gateway-not-closed"),
        ("", "operations-not-closed"),
    ):
        config = node.directory / "open.toml"
        lines = node.config_path.read_text()
        if text:
            changed = lines.replace('certificate = "gateway.crt"\nkey_file = "gateway.key.json"\n', "")
            changed = changed.replace(text, '[gateway]\nlisten = "0.0.0.0:7401"')
        else:
            changed = lines + '\n[metrics]\nlisten = "0.0.0.0:9100"\n'
        config.write_text(changed)
        command = [sys.executable, "-m", "cli.main", "node", "run", "--config", str(config)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == 1 and f"watt: {code}: " in ended.stderr, ended.stderr
        config.unlink()


def test_the_authorities_are_closed_to_who_has_no_passphrase(closed: Closed) -> None:
    """A thief of the disk has sealed keys; of a local network the passphrase lies beside, of none other."""
    place = open_authority(closed.directory, None).directory
    with pytest.raises(RefusedError, match="wrong-passphrase"):
        Authority.open(place, "guess")
    node = closed.cluster.network.nodes[0]
    key: SigningKey = load_key(node.config.path(node.config.key_file), passphrase_of(node))
    for path in [*closed.directory.rglob("*.json"), *closed.directory.rglob("*.crt"), *closed.directory.rglob("*.log")]:
        data = path.read_bytes()
        assert b"PRIVATE KEY" not in data and key.seed.hex().encode() not in data and key.seed not in data


def test_the_commands_find_their_way_through_tls(closed: Closed) -> None:
    """Those of a local network by themselves, the others by WATT_CA; without, it is said what is missing."""

    def watt(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "cli.main", *words]
        environment = {name: value for name, value in os.environ.items() if name != "WATT_CA"} | variables
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert json.loads(watt("testnet", "status", "--dir", str(closed.directory), "--json").stdout)["agree"]
    status = ("node", "status", "--json", "--node", closed.cluster.network.gateways[1])
    shown = json.loads(watt(*status, WATT_CA=str(closed.directory / TRUST_NAME)).stdout)
    assert shown["member"] == closed.cluster.network.nodes[1].name and "certificate_ends" in shown
    without = watt(*status)
    assert without.returncode == 3 and "--ca names the file" in without.stderr
