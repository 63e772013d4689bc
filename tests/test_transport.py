"""Links between members over real sockets: who may speak, what is dropped, what a slow peer costs."""

import asyncio
import base64
import contextlib
import datetime
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.consensus.messages import (
    BatchReply,
    BatchRequest,
    BlockReply,
    BlockRequest,
    Forward,
    Message,
    Proposal,
    Recall,
    Recollection,
    Signed,
    Status,
)
from node.errors import ConfigError, PeerError
from node.limits import MAX_JOINED_BYTES, SEND_QUEUE_BYTES, SEND_QUEUE_MESSAGES
from node.model.keys import SIGNATURE_BYTES
from node.transport.links import METHOD, Peer, Transport, TransportSettings
from node.transport.outbox import Outbox
from node.transport.tls import SERVER_NAME, TlsIdentity, channel_credentials, make_certificate, matches
from node.transport.wire import Hello, decode_frame, encode_hello, encode_message
from testnet.genesis import free_ports

CHAIN = b"c" * 32
SIGNED = Signed(2, b"statement", bytes(SIGNATURE_BYTES))
MESSAGES: list[Message] = [
    SIGNED,
    Proposal(SIGNED, b"batch"),
    Status(1, 2, 3),
    BatchRequest((bytes(32), b"\1" * 32)),
    BatchReply((b"one", b"two")),
    BlockRequest(7),
    BlockReply(((b"header", b"", b"certificate"), (b"header", b"body", b"certificate"))),
    Recall(1, 2, 3, 4),
    Recollection(1, 2, b"certificate", (SIGNED, SIGNED)),
    Forward((b"transaction",)),
]


@dataclass
class Peers:
    """Four members' identities, and the transports that run."""

    keys: list[TlsIdentity]
    addresses: list[str]
    received: list[tuple[int, str, Message]] = field(default_factory=list)
    """(receiver, sender, message)"""

    def peer(self, index: int) -> Peer:
        return Peer(f"node-{index}", self.addresses[index], (self.keys[index].certificate.decode(),))

    def transport(self, me: int, *others: int) -> Transport:
        settings = TransportSettings(CHAIN, f"node-{me}", self.addresses[me])
        peers = [self.peer(i) for i in others or range(4) if i != me]
        return Transport(
            settings, self.keys[me], peers, lambda peer, message: self.received.append((me, peer, message))
        )


@pytest.fixture(scope="module")
def peers() -> Peers:
    identities = [TlsIdentity(*make_certificate(f"node-{i}")) for i in range(4)]
    return Peers(identities, [f"127.0.0.1:{port}" for port in free_ports(4)])


@contextlib.asynccontextmanager
async def running(*transports: Transport) -> AsyncIterator[None]:
    for transport in transports:
        await transport.start()
    try:
        yield
    finally:
        for transport in transports:
            await transport.stop()


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def test_every_message_survives_the_wire_also_joined() -> None:
    assert decode_frame(b"".join(encode_message(message) for message in MESSAGES)) == MESSAGES


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\xff\xff garbage", "malformed"),
        (encode_message(Signed(0, b"x", b"short")), "malformed"),
        (encode_message(BatchRequest((bytes(33),))), "oversize"),
        (encode_message(Forward((bytes(70_000),))), "oversize"),
        (encode_message(Forward((b"",) * 5000)), "oversize"),
        (encode_message(BlockRequest(2**64 - 1)), "malformed"),
        (b"\x0a\x00", "malformed"),
    ],
)
def test_what_no_correct_peer_sends_has_a_code(frame: bytes, code: str) -> None:
    with pytest.raises(PeerError) as caught:
        decode_frame(frame)
    assert caught.value.code == code


def test_a_full_outbox_drops_gossip_first_and_stays_bounded() -> None:
    """Checklist 52 and 54: who does not read costs so much memory and no more, and nobody waits for it."""
    outbox = Outbox()
    for i in range(10):
        outbox.put(b"vote %d" % i, gossip=False)
    for _ in range(2 * SEND_QUEUE_MESSAGES):
        outbox.put(b"gossip", gossip=True)
    assert len(outbox) == SEND_QUEUE_MESSAGES
    assert outbox.take().startswith(b"vote 0vote 1")
    big = bytes(MAX_JOINED_BYTES // 2 + 1)
    for _ in range(50):
        outbox.put(big, gossip=False)
    assert outbox.size_bytes <= SEND_QUEUE_BYTES
    assert len(outbox.take()) == len(big)


def test_messages_arrive_in_order_from_the_member_that_sent_them(peers: Peers) -> None:
    async def scenario() -> None:
        peers.received.clear()
        a, b = peers.transport(0), peers.transport(1)
        async with running(a, b):
            await until(lambda: a.connected() == ["node-1"] and b.connected() == ["node-0"])
            for message in MESSAGES:
                a.send(["node-1"], message)
            b.send(["node-0", "node-2", "node-3"], SIGNED)
            await until(lambda: len(peers.received) == len(MESSAGES) + 1)
        assert [m for me, peer, m in peers.received if (me, peer) == (1, "node-0")] == MESSAGES
        assert (0, "node-1", SIGNED) in peers.received

    asyncio.run(scenario())


def test_a_link_comes_back_after_its_peer_was_away(peers: Peers) -> None:
    """Checklist 54: sending to a peer that is away neither waits nor piles up."""

    async def scenario() -> None:
        a = peers.transport(0)
        async with running(a):
            async with running(peers.transport(1)):
                await until(lambda: a.connected() == ["node-1"])
            await until(lambda: not a.connected())
            for _ in range(1000):
                a.send(["node-1"], SIGNED)  # to nobody: must neither wait nor pile up
            peers.received.clear()
            async with running(peers.transport(1)):
                await until(lambda: a.connected() == ["node-1"])
                a.send(["node-1"], Status(9, 9, 9))
                await until(lambda: (1, "node-0", Status(9, 9, 9)) in peers.received)
                assert len(peers.received) < 200

    asyncio.run(scenario())


def test_garbage_is_dropped_and_the_link_goes_on(peers: Peers) -> None:
    """Checklist 53 and 59."""

    async def scenario() -> None:
        peers.received.clear()
        async with running(peers.transport(1)), _raw_link(peers, 0) as call:
            await call.write(encode_hello(Hello(CHAIN, "node-0")))
            await call.write(b"\xff" * 100)
            await call.write(encode_message(Signed(0, b"x", b"short")))
            await call.write(encode_message(SIGNED))
            await until(lambda: peers.received == [(1, "node-0", SIGNED)])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (lambda chain: encode_hello(Hello(chain, "node-2")), "wrong-sender"),
        (lambda chain: encode_hello(Hello(bytes(32), "node-0")), "wrong-chain"),
        (lambda chain: encode_message(SIGNED), "malformed"),
        (lambda chain: b"garbage", "malformed"),
    ],
)
def test_a_link_must_begin_with_its_owners_hello(peers: Peers, hello: Callable[[bytes], bytes], code: str) -> None:
    """Checklist 56."""

    async def scenario() -> None:
        peers.received.clear()
        async with running(peers.transport(1)), _raw_link(peers, 0) as call:
            await call.write(hello(CHAIN))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.details() == code
        assert not peers.received

    asyncio.run(scenario())


def test_a_stranger_does_not_get_through_tls(peers: Peers) -> None:
    """Checklist 56."""

    async def scenario() -> None:
        stranger = TlsIdentity(*make_certificate("node-0"))
        async with running(peers.transport(1)):
            channel = _channel(peers, 1, stranger)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(channel.channel_ready(), 1)
            await channel.close()

    asyncio.run(scenario())


def test_links_come_and_go_with_the_members(peers: Peers) -> None:
    """Checklist 47 and 49: who is admitted later gets in, who is no more is cut off, and the others notice nothing."""

    async def scenario() -> None:
        peers.received.clear()
        a, b, c = peers.transport(0, 1), peers.transport(1, 0), peers.transport(2, 0)
        async with running(a, b, c):
            await until(lambda: a.connected() == ["node-1"] and b.connected() == ["node-0"])
            await asyncio.sleep(0.3)
            assert c.connected() == []
            a.admit([peers.peer(1), peers.peer(2)])
            await until(lambda: a.connected() == ["node-1", "node-2"] and c.connected() == ["node-0"])
            a.send(["node-1", "node-2", "node-9"], SIGNED)
            c.send(["node-0"], SIGNED)
            wanted = {(1, "node-0", SIGNED), (2, "node-0", SIGNED), (0, "node-2", SIGNED)}
            await until(lambda: set(peers.received) == wanted)
            peers.received.clear()
            a.admit([peers.peer(1)])
            await until(lambda: a.connected() == ["node-1"] and c.connected() == [])
            c.send(["node-0"], SIGNED)
            b.send(["node-0"], Status(1, 1, 1))
            await until(lambda: (0, "node-1", Status(1, 1, 1)) in peers.received)
            assert peers.received == [(0, "node-1", Status(1, 1, 1))]

    asyncio.run(scenario())


def test_a_certificate_is_changed_without_a_gap(peers: Peers) -> None:
    """Checklist 50: while both are admitted, the old one and the new one may be shown; afterwards the new one alone."""

    async def scenario() -> None:
        new = TlsIdentity(*make_certificate("node-1"))
        both = Peer("node-1", peers.addresses[1], (new.certificate.decode(), peers.keys[1].certificate.decode()))
        after = Peer("node-1", peers.addresses[1], (new.certificate.decode(),))
        a, b, late = peers.transport(0, 1), peers.transport(1, 0), peers.transport(2, 1)
        async with running(a, b):
            await until(lambda: a.connected() == ["node-1"] and b.connected() == ["node-0"])
            a.admit([both])
            b.identify(new)
            assert a.connected() == ["node-1"] and b.connected() == ["node-0"]  # what is up stays up
            a.admit([after])
            # b's old link is cut, and comes back with the new certificate; a's own is not touched.
            peers.received.clear()

            def arrives() -> bool:
                b.send(["node-0"], SIGNED)
                return (0, "node-1", SIGNED) in peers.received

            await until(arrives)
            b.admit([peers.peer(0), peers.peer(2)])
            async with running(late):
                await asyncio.sleep(0.5)
                assert late.connected() == []  # it pins the old one alone
                late.admit([after])
                await until(lambda: late.connected() == ["node-1"])

    asyncio.run(scenario())


@pytest.mark.parametrize("newest_first", [True, False])
def test_new_links_with_either_certificate_while_both_are_admitted(peers: Peers, newest_first: bool) -> None:
    """Checklist 50: a member whose keys are being rotated is restarted. TLS finds a certificate by its subject."""

    async def scenario(shown: TlsIdentity, other: TlsIdentity) -> None:
        both = tuple(identity.certificate.decode() for identity in (shown, other))
        member = Peer("node-1", peers.addresses[1], both if newest_first else both[::-1])
        a, b = peers.transport(0, 1), peers.transport(1, 0)
        a.admit([member])
        b.identify(shown)
        async with running(a, b):
            await until(lambda: a.connected() == ["node-1"] and b.connected() == ["node-0"])
            await until(lambda: all(link.is_heard for link in (*a.links(), *b.links())))

    old, new = peers.keys[1], TlsIdentity(*make_certificate("node-1"))
    asyncio.run(scenario(new, old))
    asyncio.run(scenario(old, new))


def test_a_certificate_that_two_bring_is_the_first_ones(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        a, b = peers.transport(0, 1), peers.transport(1, 0)
        a.admit([peers.peer(1), Peer("other", "", peers.peer(1).certificates)])
        async with running(a, b):
            await until(lambda: b.connected() == ["node-0"])
            b.send(["node-0"], Status(2, 2, 2))
            await until(lambda: (0, "node-1", Status(2, 2, 2)) in peers.received)

    asyncio.run(scenario())
    assert "certificate-shared peer=other" in caplog.text


def test_whose_certificate_comes_to_an_end_is_told(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    """Checklist 51: somebody may bring a certificate that was not made here."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "brought")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    brought = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )
    junk = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(bytes(300)).decode()}\n-----END CERTIFICATE-----\n"

    async def scenario() -> None:
        a, b = peers.transport(0, 1), peers.transport(1, 0)
        a.admit([peers.peer(1), Peer("brief", "", (brought,)), Peer("junk", "", (junk,))])
        async with running(a, b):  # neither is in the others' way
            await until(lambda: b.connected() == ["node-0"])

    asyncio.run(scenario())
    told = [record.getMessage().partition(":")[0] for record in caplog.records if "certificate-" in record.getMessage()]
    assert told == ["certificate-ends peer=brief on=2027-01-01", "certificate-unusable peer=junk"]


def test_a_port_in_use_is_one_clear_error(peers: Peers) -> None:
    async def scenario() -> None:
        async with running(peers.transport(1)):
            with pytest.raises(ConfigError) as caught:
                await peers.transport(1).start()
            assert caught.value.code == "port-in-use"

    asyncio.run(scenario())


def test_certificates_outlive_any_clock() -> None:
    """Checklist 51: a member's certificate has no end (RFC 5280, 4.1.2.5), so no date can cut its links."""
    _, certificate = make_certificate("a")
    parsed = x509.load_pem_x509_certificate(certificate)
    assert parsed.not_valid_after_utc.year == 9999
    assert parsed.not_valid_before_utc.year <= 2020  # nor one that lags behind


def test_a_certificate_belongs_to_its_key() -> None:
    (key, certificate), (other, _) = make_certificate("a"), make_certificate("a")
    assert matches(key, certificate)
    assert not matches(other, certificate)


def _channel(peers: Peers, to: int, identity: TlsIdentity) -> grpc.aio.Channel:
    credentials = channel_credentials(identity, peers.peer(to).certificates)
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    return grpc.aio.secure_channel(peers.addresses[to], credentials, options=options)


@contextlib.asynccontextmanager
async def _raw_link(peers: Peers, sender: int) -> "AsyncIterator[grpc.aio.StreamUnaryCall[bytes, bytes]]":
    """A link to member 1 by hand, with the identity of member ``sender``."""
    async with _channel(peers, 1, peers.keys[sender]) as channel:
        call: grpc.aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(METHOD)()
        yield call
        call.cancel()
