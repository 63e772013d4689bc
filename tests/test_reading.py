"""A client's connections, against real servers: reads are signed for the chain, and a gateway proves who it is."""

import asyncio
import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from node.errors import NodeFault, RefusedError
from node.gateway.client import Client
from node.gateway.codes import NotNowError
from node.gateway.guard import Guard, reader
from node.gateway.service import GatewayService
from node.gateway.snapshots import SnapshotService
from node.model.codec import encode
from node.model.keys import SigningKey
from node.snapshot.fetch import AskList
from node.snapshot.remote import Remote
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc

CHAIN, OTHER_CHAIN = bytes(32), b"\1" * 32
READER = SigningKey(bytes(31) + b"\7")
DAY = datetime.timedelta(days=1)


class Telling(GatewayService):
    """Answers with the reader's key, and counts who asks for its chain. There is no node behind it."""

    def __init__(self) -> None:
        self.asked = 0
        self.blocks_told = 1000
        self.subscribed: list[int] = []
        self.refusals: list[RefusedError] = []
        """With what subscriptions after the first are refused, one after the other."""

    async def Query(self, request: pb.QueryRequest, context: object) -> pb.QueryReply:
        return pb.QueryReply(value=encode(reader.get()))

    async def Subscribe(  # type: ignore[override]
        self, request: pb.SubscribeRequest, context: object
    ) -> AsyncIterator[pb.BlockEvents]:
        self.subscribed.append(request.from_height)
        if len(self.subscribed) > 1 and self.refusals:
            raise self.refusals.pop(0)
        for height in range(request.from_height, request.from_height + self.blocks_told):
            yield pb.BlockEvents(height=height, hash=reader.get())
            await asyncio.sleep(0.01)

    async def NodeInfo(self, request: pb.NodeInfoRequest, context: object) -> pb.NodeInfoReply:
        self.asked += 1
        return pb.NodeInfoReply(chain=CHAIN)


class TellingSnapshots(SnapshotService):
    """The same, of snapshots."""

    def __init__(self) -> None:
        pass

    async def List(self, request: pb.SnapshotsRequest, context: object) -> pb.SnapshotsReply:
        return pb.SnapshotsReply(chain=reader.get())


def served(use: Callable[[str, Telling], Awaitable[None]], credentials: grpc.ServerCredentials | None = None) -> None:
    """Let ``use`` have the address of a gateway, plain or with a certificate."""
    faults: list[NodeFault] = []

    async def scenario() -> None:
        service = Telling()
        server = grpc.aio.server(interceptors=(Guard(faults.append, CHAIN),))
        pb_grpc.add_GatewayServicer_to_server(service, server)
        pb_grpc.add_SnapshotsServicer_to_server(TellingSnapshots(), server)
        if credentials is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        try:
            async with asyncio.timeout(20):
                await use(f"127.0.0.1:{port}", service)
        finally:
            await server.stop(None)

    asyncio.run(scenario())
    assert not faults


def test_a_client_with_a_key_signs_its_reads_and_asks_once_for_the_chain() -> None:
    async def use(address: str, service: Telling) -> None:
        async with Client(address, READER) as client:
            answers = await asyncio.gather(*(client.query("market", "settings") for _ in range(5)))
            assert answers == [READER.public_key] * 5
            blocks = client.subscribe(7)
            assert (await anext(blocks)).hash == READER.public_key
            assert service.asked == 1

    served(use)


def test_a_subscription_that_a_node_ends_goes_on_signed_anew() -> None:
    """Checklist 4."""

    async def use(address: str, service: Telling) -> None:
        service.blocks_told = 2
        async with Client(address, READER) as client:
            blocks = client.subscribe(7)
            assert [(await anext(blocks)).height for _ in range(5)] == [7, 8, 9, 10, 11]
        assert service.subscribed == [7, 9, 11]

    served(use)


@pytest.mark.parametrize("first", [7, None])
def test_who_signs_a_subscription_again_waits_for_a_place_like_others(first: int | None) -> None:
    """Once in ten minutes there may be none, or the next gateway may be a block behind."""

    async def use(address: str, service: Telling) -> None:
        service.blocks_told = 2
        service.refusals = [
            *(NotNowError(code, "not now", 20) for code in ("too-many-subscribers", "busy")),
            RefusedError("no-block", "no block yet"),
        ]
        async with Client(address, READER) as client:
            blocks = client.subscribe(first)
            begin = first or 0
            assert [(await anext(blocks)).height for _ in range(4)] == list(range(begin, begin + 4))
        assert service.subscribed == [begin, *[begin + 2] * 4]

    served(use)


def test_a_node_that_is_far_away_or_busy_is_reached() -> None:
    """Its first word comes after some round trips, each of a quarter of a second over a satellite."""

    async def use(address: str, _: Telling) -> None:
        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                sink.write(data)
            sink.close()

        async def answer(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.75)
            host, _, port = address.rpartition(":")
            near, far = await asyncio.open_connection(host, int(port))
            await asyncio.gather(pipe(source, far), pipe(near, sink))

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as proxy:
            port = proxy.sockets[0].getsockname()[1]
            async with Client(f"127.0.0.1:{port}", READER) as client:
                assert await client.query("market", "settings") == READER.public_key

    served(use)


def test_a_client_without_a_key_reads_as_nobody() -> None:
    async def use(address: str, service: Telling) -> None:
        async with Client(address) as client:
            assert await client.query("market", "settings") == b""
            assert (await anext(client.subscribe(7))).hash == b""
            assert service.asked == 0

    served(use)


def test_a_client_that_knows_its_chain_signs_for_no_other() -> None:
    async def use(address: str, service: Telling) -> None:
        async with Client(address, READER, chain=CHAIN) as client:
            assert await client.query("market", "settings") == READER.public_key
        async with Client(address, READER, chain=OTHER_CHAIN) as client:
            with pytest.raises(RefusedError, match="bad-read-signature"):
                await client.query("market", "settings")
            with pytest.raises(RefusedError, match="bad-read-signature"):
                await anext(client.subscribe(7))
        assert service.asked == 0

    served(use)


def test_a_client_with_a_key_says_when_nobody_answers() -> None:
    async def ask() -> None:
        async with Client("127.0.0.1:1", READER) as client:
            with pytest.raises(RefusedError, match="unreachable"):
                await client.query("market", "settings")
            with pytest.raises(RefusedError, match="unreachable"):
                await anext(client.subscribe(7))

    asyncio.run(ask())


def test_a_node_that_joins_signs_what_it_asks_for() -> None:
    async def use(address: str, service: Telling) -> None:
        async with Remote(READER, CHAIN) as remote:
            assert (await remote.listing(AskList(address))).chain == READER.public_key
        async with Remote() as remote:
            assert (await remote.listing(AskList(address))).chain == b""
        assert service.asked == 0

    served(use)


class Issued(NamedTuple):
    """A private key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def serves(self) -> grpc.ServerCredentials:
        """What a gateway shows with it."""
        form, sealed = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return grpc.ssl_server_credentials(
            [(self.key.private_bytes(serialization.Encoding.PEM, form, sealed), self.pem)]
        )


def issued(by: Issued | None = None, address: str = "127.0.0.1", began: datetime.timedelta = DAY) -> Issued:
    """A certificate for two days from ``began`` ago on; without ``by`` that of a root."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime.datetime.now(datetime.UTC) - began
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root" if by is None else "gateway")])
    form = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + 2 * DAY)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
    )
    return Issued(key, form.sign(key if by is None else by.key, hashes.SHA256()))


def test_a_gateway_that_the_root_vouches_for_is_read() -> None:
    root = issued()

    async def use(address: str, service: Telling) -> None:
        async with Client(address, READER, roots=root.pem) as client:
            assert await client.query("market", "settings") == READER.public_key
        async with Remote(READER, CHAIN, root.pem) as remote:
            assert (await remote.listing(AskList(address))).chain == READER.public_key

    served(use, issued(root).serves())


ROOT = issued()
WRONG = {
    "expired": (issued(ROOT, began=4 * DAY), "expired"),
    "early": (issued(ROOT, began=-DAY), "not valid yet"),
    "elsewhere": (issued(ROOT, address="127.0.0.2"), "another address"),
    "foreign": (issued(issued()), "nobody vouches for"),
    "plain": (None, "speaks no TLS"),
}


@pytest.mark.parametrize("wrong", sorted(WRONG))
def test_a_gateway_with_a_wrong_certificate_is_told_nothing_and_named(wrong: str) -> None:
    shown, words = WRONG[wrong]

    async def use(address: str, service: Telling) -> None:
        async with Client(["127.0.0.1:1", address], READER, roots=ROOT.pem) as client:
            with pytest.raises(RefusedError) as caught:
                await client.query("market", "settings")
            assert caught.value.code == "untrusted-node"
            assert f"{address} shows" in caught.value.message or wrong == "plain"
            assert words in caught.value.message and "127.0.0.1:1 does not answer" in caught.value.message
            with pytest.raises(RefusedError, match="untrusted-node"):
                await anext(client.subscribe(7))
        assert service.asked == 0

    served(use, None if shown is None else shown.serves())


def test_another_gateway_is_asked_when_the_first_is_not_to_be_trusted() -> None:
    foreign = issued(issued()).serves()

    async def use(address: str, service: Telling) -> None:
        server = grpc.aio.server()
        port = server.add_secure_port("127.0.0.1:0", foreign)
        await server.start()
        try:
            async with Client([f"127.0.0.1:{port}", address], READER, roots=ROOT.pem) as client:
                assert await client.query("market", "settings") == READER.public_key
        finally:
            await server.stop(None)

    served(use, issued(ROOT).serves())
