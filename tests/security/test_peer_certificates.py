"""Wrong, expired, revoked and foreign certificates on links of peers, and keys that rotate while all else goes on.

A stranger, a member with a certificate of another kind, a thief of a key that was rotated.
"""

import asyncio
import datetime
import socket
import ssl

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from node.config import split_address
from node.gateway.client import Client
from node.keyfile import KIND_TLS_KEY, unseal
from node.light import LightChain, LightError
from node.limits import FAREWELL_BLOCKS
from node.model.block import decode_batch, decode_header, encode_header
from node.model.certificate import decode_certificate, encode_certificate
from node.model.epoch import decode_boundary
from node.model.genesis import dump_genesis
from node.pki.profile import (
    Kind,
    Subject,
    certificate_pem,
    load_private_key,
)
from node.pki.serving import use_identity
from node.transport.tls import TlsIdentity, make_certificate
from testnet.authorities import NAMES
from testnet.genesis import NetworkNode
from testnet.membership import hurry, rotate
from tests.security.closed import Closed, operator, passphrase_of, renew, shows, until

DAY = datetime.timedelta(days=1)


def peer_identity(node: NetworkNode) -> TlsIdentity:
    secret = unseal(node.config.path(node.config.tls_key_file), KIND_TLS_KEY, passphrase_of(node))
    return TlsIdentity(secret, node.config.path(node.config.tls_certificate).read_bytes())


def is_let_in(node: NetworkNode, identity: TlsIdentity | None) -> bool:
    """Whether a node's port for peers greets whoever shows ``identity``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        use_identity(context, identity)
    try:
        with (
            socket.create_connection(split_address(node.config.peer.listen), timeout=10) as connection,
            context.wrap_socket(connection) as opened,
        ):
            opened.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
            return bool(opened.recv(1))
    except OSError:
        return False


def expired_of(identity: TlsIdentity) -> TlsIdentity:
    """Another certificate of the same key and name, as the member itself could make it, which ended yesterday."""
    key = load_private_key(identity.private_key)
    pinned = x509.load_pem_x509_certificate(identity.certificate)
    made = (
        x509.CertificateBuilder()
        .subject_name(pinned.subject)
        .issuer_name(pinned.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(pinned.not_valid_before_utc)
        .not_valid_after(datetime.datetime.now(datetime.UTC) - DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return TlsIdentity(identity.private_key, certificate_pem(made))


def test_links_take_no_certificate_but_those_of_the_chain(closed: Closed) -> None:
    """Also not one of the consortium's own CA: who a peer is follows from the chain alone."""
    target, *_, member = closed.cluster.network.nodes
    own = make_certificate(member.name)
    strangers = {
        "nobody": None,
        "self-made, in a member's name": TlsIdentity(*own),
        "a member's gateway": closed.issued(Subject(Kind.GATEWAY, member.name, NAMES)),
        "an operator": closed.issued(operator(member.name)),
        "a member's key, in a certificate that has ended": expired_of(peer_identity(member)),
        "a foreign CA's": closed.issued(operator(closed.foreign.facts.subject.member), closed.foreign),
    }
    assert not any(is_let_in(target, identity) for identity in strangers.values())
    assert is_let_in(target, peer_identity(member))


def test_keys_of_peers_rotate_and_certificates_of_gateways_renew_without_a_lost_block(closed: Closed) -> None:
    """And what was in use before the rotation opens no link any more, when the others have had time to leave the epoch:
    that is how a peer is revoked."""
    network = closed.cluster.network
    node, watched = network.nodes[2], network.nodes[3]
    old = peer_identity(node)
    assert is_let_in(network.nodes[0], old)
    heights: list[int] = []

    async def listen(client: Client, first: int) -> None:
        async for block in client.subscribe(first):
            heights.append(block.height)

    async def scenario() -> None:
        async with network.client(watched.gateway) as client:
            first = (await client.node_info()).height + 1
            listening = asyncio.create_task(listen(client, first))
            serials = {each.name: renew(closed, each) for each in network.nodes}
            effective = await rotate(network, node)
            await hurry(network, effective + FAREWELL_BLOCKS)

            async def are_renewed() -> bool:
                return all([await shows(closed, each, serials[each.name]) for each in network.nodes])

            await until(are_renewed)

            async def has_all() -> bool:
                return bool(heights) and heights[-1] >= effective + FAREWELL_BLOCKS

            await until(has_all)
            listening.cancel()
            assert heights == list(range(first, heights[-1] + 1))
            assert await client.node_info()  # over the connection that is open still

    asyncio.run(scenario())
    assert not is_let_in(network.nodes[0], old)
    assert is_let_in(network.nodes[0], peer_identity(node))
    assert closed.cluster.agreement().root is not None
    asyncio.run(_epochs_are_apart(closed))


async def _epochs_are_apart(closed: Closed) -> None:
    """What proves a block in one epoch proves none in the other, though three of four members are the same; and the
    votes that ended the one cannot be cast again in the other."""
    network = closed.cluster.network
    async with network.client() as client:
        boundaries = await client.boundaries(1)
        first = decode_header(decode_boundary(boundaries[-1]).header).height + 1
        blocks = [await client.block(height) for height in (first - 1, first)]
        cast = [
            tx.raw for height in range(1, first) for tx in decode_batch((await client.block(height)).body).transactions
        ]
        again = {code for _, code in await client.submit_many(cast)}
        assert len(cast) >= 3 and again <= {"nonce-used", "expired"}, again
    light = LightChain(dump_genesis(network.genesis))
    for boundary in boundaries:
        light.add_epoch(boundary)
    for block, other in zip(blocks, (len(boundaries), len(boundaries) - 1), strict=True):
        header = encode_header(msgspec.structs.replace(decode_header(block.header), epoch=other))
        votes = encode_certificate(msgspec.structs.replace(decode_certificate(block.certificate), epoch=other))
        for forged in ((header, votes), (header, block.certificate), (block.header, votes)):
            with pytest.raises(LightError):
                light.accept(*forged)
        light.accept(block.header, block.certificate)
