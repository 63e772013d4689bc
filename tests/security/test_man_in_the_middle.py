"""Somebody on the wire, with certificates of its own: between two peers, and between a client and a gateway. It reads
nothing, changes nothing, and is noticed.
"""

import asyncio
import datetime
import time
from collections.abc import Callable

import msgspec
import pytest

from node.control import Diagnose, ask
from node.diagnosis import Link, Report
from node.errors import RefusedError
from node.gateway.client import Client
from node.pki.profile import Kind, Subject, describe
from node.pki.trust import read_chain
from node.transport.tls import TlsIdentity, make_certificate
from testnet.authorities import NAMES, open_authority, write_trust
from tests.security.closed import Closed, Middleman, serving

WITHIN_S = 20.0


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def link_to(closed: Closed, peer: str) -> Link:
    """How node-0 sees its link."""
    data = closed.cluster.network.nodes[0].config
    report = msgspec.convert(ask(data.path(data.data_dir), Diagnose()), Report)
    return next(link for link in report.links if link.peer == peer)


async def asked(address: str, trust: bytes) -> str:
    """What becomes of a question to the gateway behind ``address``: the member that answers, or the refusal's code."""
    try:
        async with Client(address, roots=trust) as client:
            return (await client.node_info()).member
    except RefusedError as error:
        return error.code


def intercepted(middleman: Middleman, identity: TlsIdentity, *, after: int = 0) -> None:
    middleman.intercept = serving(identity)
    middleman.after = after
    middleman.read = b""
    middleman.met = 0


def gateway(member: str, *names: str) -> Subject:
    return Subject(Kind.GATEWAY, member, names or NAMES)


CASES: dict[str, Callable[[Closed, str], TlsIdentity]] = {
    "of another consortium": lambda closed, _: closed.issued(
        gateway(closed.foreign.facts.subject.member), closed.foreign
    ),
    "expired": lambda closed, member: closed.issued(gateway(member), ago=datetime.timedelta(days=31)),
    "for another address": lambda closed, member: closed.issued(gateway(member, "10.1.1.1")),
    "of an operator": lambda closed, member: closed.issued(Subject(Kind.OPERATOR, member, ("eve",))),
    "self-made": lambda _, member: TlsIdentity(*make_certificate(member)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_client_says_nothing_to_whoever_shows_another_certificate(closed: Closed, case: str) -> None:
    member = closed.cluster.network.nodes[3].name
    assert asyncio.run(asked(closed.gateway.address, closed.trust)) == member  # passed on: it sees noise alone
    intercepted(closed.gateway, CASES[case](closed, member))
    try:
        assert asyncio.run(asked(closed.gateway.address, closed.trust)) == "untrusted-node"
        assert closed.gateway.met and not closed.gateway.read
    finally:
        closed.gateway.intercept = None


def test_who_steps_in_after_the_look_is_noticed_too(closed: Closed) -> None:
    """With a stolen certificate of that very gateway, revoked since: gRPC by itself would take it. The client looks
    first, through to the real gateway; then another certificate is shown, and that is not the one it looked at."""
    member = closed.cluster.network.nodes[3].name
    stolen = closed.issued(gateway(member))
    without_list = closed.trust
    serial = describe(read_chain(stolen.certificate)[0]).serial
    now = datetime.datetime.now(datetime.UTC)
    open_authority(closed.directory, member).revoke(serial, "key-compromise", now)
    write_trust(closed.directory)
    try:
        for looks_passed in (1, 0):
            intercepted(closed.gateway, stolen, after=looks_passed)
            assert asyncio.run(asked(closed.gateway.address, closed.trust)) == "untrusted-node"
            assert closed.gateway.met and not closed.gateway.read
        intercepted(closed.gateway, stolen)  # what the list is for: who lacks it believes the thief, until it ends
        asyncio.run(asked(closed.gateway.address, without_list))
        assert closed.gateway.read.startswith(b"PRI * HTTP/2.0")
    finally:
        closed.gateway.intercept = None


def test_a_link_of_peers_is_cut_by_who_sits_on_it_and_no_more(closed: Closed) -> None:
    """It shows a certificate in the peer's name, then the real one's as others know it without its key: the link is
    down, the others go on, and when it gives up the link is up again."""
    network = closed.cluster.network
    second = network.nodes[1]
    assert link_to(closed, second.name).up

    async def height() -> int:
        async with network.client() as client:
            return (await client.node_info()).height

    closed.link.intercept = serving(TlsIdentity(*make_certificate(second.name)), asks=True)
    closed.link.cut()
    try:
        until(lambda: not link_to(closed, second.name).up and closed.link.met > 1)
        before = asyncio.run(height())
        until(lambda: asyncio.run(height()) > before)
        assert not link_to(closed, second.name).up and not closed.link.read
    finally:
        closed.link.intercept = None
    until(lambda: link_to(closed, second.name).up)
    assert closed.cluster.agreement().root is not None
