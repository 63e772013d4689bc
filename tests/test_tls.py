"""Which certificates links can use, and that one which they cannot use does no harm to the others."""

import asyncio
import datetime
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from node.transport.links import Peer, Transport, TransportSettings
from node.transport.tls import SERVER_NAME, TlsIdentity, certificate_fault, make_certificate
from testnet.genesis import free_ports
from tests.chaincode.town import pem
from tests.test_transport import CHAIN, running, until

KEY = ec.generate_private_key(ec.SECP256R1())
IDENTITIES = [TlsIdentity(*make_certificate(f"node-{i}")) for i in range(3)]
VICTIM = x509.load_pem_x509_certificate(IDENTITIES[0].certificate)
NEVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def made(*, name: str = SERVER_NAME, curve: ec.EllipticCurve | None = None, until: datetime.datetime = NEVER) -> str:
    """A certificate that differs from the usual ones."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return signed(key, hashes.SHA256(), name, until)


def signed(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    digest: hashes.SHA256 | None,
    name: str = SERVER_NAME,
    until: datetime.datetime = NEVER,
    subject: x509.Name | None = None,
) -> str:
    info = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if subject is None:
        subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, sha256(info).hexdigest())])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, digest)
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        (made(), None),
        (make_certificate("eve")[1].decode(), None),
        (pem("eve"), "it is no certificate"),
        ("", "it is no certificate"),
        ("\N{SNOWMAN}", "it is no certificate"),
        (made(name="eve.example"), "it is not for peer.wattledger"),
        (made(curve=ec.SECP384R1()), "its key is not ECDSA P-256"),
        (signed(ed25519.Ed25519PrivateKey.generate(), None), "its key is not ECDSA P-256"),
        (signed(KEY, hashes.SHA256(), subject=VICTIM.subject), "its subject does not name its key"),
        (signed(KEY, hashes.SHA256(), subject=x509.Name([])), "its subject does not name its key"),
        (made(until=datetime.datetime(2031, 5, 1, tzinfo=datetime.UTC)), "it expires on 2031-05-01"),
    ],
)
def test_what_links_can_use(certificate: str, why: str | None) -> None:
    """Checklist 51: a certificate that expires is refused before it is anybody's."""
    fault = certificate_fault(certificate)
    assert fault is None if why is None else fault is not None and fault.startswith(why)


@pytest.mark.parametrize("bad", [pem("eve"), "of another's name"])
def test_a_member_whose_certificate_is_of_no_use_harms_nobody_else(bad: str) -> None:
    """Checklist 47: it was admitted by its form, be it one that carries another member's name; links between all others
    stand, before and behind it in the list."""
    identities = IDENTITIES
    if bad != pem("eve"):
        bad = signed(KEY, hashes.SHA256(), subject=VICTIM.subject)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(4)]
    certificates = [identity.certificate.decode() for identity in identities]
    peers = [Peer(f"node-{i}", addresses[i], (certificates[i],)) for i in range(3)]
    peers.insert(0, Peer("eve", addresses[3], (bad,)))

    async def scenario() -> None:
        transports = [
            Transport(
                TransportSettings(CHAIN, f"node-{me}", addresses[me]),
                identities[me],
                [peer for peer in peers if peer.name != f"node-{me}"],
                lambda peer, message: None,
            )
            for me in range(3)
        ]
        async with running(*transports):
            await until(lambda: all(len(transport.connected()) == 2 for transport in transports))

    asyncio.run(scenario())
