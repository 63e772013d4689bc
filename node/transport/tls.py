"""Certificates of peer links: self-signed ECDSA P-256, pinned by genesis.

gRPC's TLS accepts neither Ed25519 nor expired certificates, hence P-256 and no practical expiry (RFC 5280,
4.1.2.5: 99991231235959Z). Names mean nothing here: who a peer is follows from the exact certificate.
"""

import datetime
import ssl
from collections.abc import Sequence

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.errors import ConfigError

SERVER_NAME = "peer.wattledger"
"""The one name that all peer certificates carry, since TLS wants a name."""


def make_certificate(member: str) -> tuple[bytes, bytes]:
    """A new private key (PKCS 8, PEM, unencrypted: seal it) and its self-signed certificate (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def certificate_der(pem: str) -> bytes:
    """The DER of a PEM certificate: what pins are compared by. Raises ConfigError("bad-certificate")."""
    try:
        return ssl.PEM_cert_to_DER_cert(pem.strip() + "\n")
    except ValueError as error:
        raise ConfigError("bad-certificate", f"not a PEM certificate: {error}") from error


def matches(private_key: bytes, certificate: bytes) -> bool:
    """Whether the PEM private key belongs to the PEM certificate; raises ValueError if either is not one."""
    key = serialization.load_pem_private_key(private_key, password=None)
    return key.public_key() == x509.load_pem_x509_certificate(certificate).public_key()


def server_credentials(private_key: bytes, certificate: bytes, members: Sequence[str]) -> grpc.ServerCredentials:
    """Accepts only clients that hold the key of one of the ``members``' certificates."""
    roots = "".join(pem.strip() + "\n" for pem in members).encode()
    return grpc.ssl_server_credentials([(private_key, certificate)], roots, require_client_auth=True)


def channel_credentials(private_key: bytes, certificate: bytes, peer: str) -> grpc.ChannelCredentials:
    """Accepts only a server that holds the key of exactly ``peer``'s certificate."""
    return grpc.ssl_channel_credentials(peer.encode(), private_key, certificate)
