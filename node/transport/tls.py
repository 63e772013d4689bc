"""Certificates of peer links: self-signed ECDSA P-256, pinned by genesis and by every later change of the members.

gRPC's TLS accepts neither Ed25519 nor expired certificates, hence P-256 and no practical expiry (RFC 5280,
4.1.2.5: 99991231235959Z). Names mean nothing here: who a peer is follows from the exact certificate. But TLS looks for
a trusted certificate by its subject, and compares the first of that name alone: so each key has a subject of its own.
"""

import datetime
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.errors import ConfigError

FOREVER = datetime.date(9999, 12, 31)
SERVER_NAME = "peer.wattledger"
"""The one name that all peer certificates carry, since TLS wants a name."""
UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What is raised of a certificate, request or list of a stranger's that is not as it should be: of many kinds."""
_NEVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class TlsIdentity:
    """What this node shows on its links: its private key, and the certificate of it; both PEM."""

    private_key: bytes = field(repr=False)
    certificate: bytes


def make_certificate(member: str) -> tuple[bytes, bytes]:
    """A new private key (PKCS 8, PEM, unencrypted: seal it) and its self-signed certificate (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.NameAttribute(NameOID.COMMON_NAME, member[:64])
    subject = x509.Name([named, x509.NameAttribute(NameOID.SERIAL_NUMBER, _fingerprint(key.public_key()))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(_NEVER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key, in hex: the 64 characters that X.520 allows for a subject's serial number."""
    info = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(info).hexdigest()


def certificate_der(pem: str) -> bytes:
    """The DER of a PEM certificate: what pins are compared by. Raises ConfigError("bad-certificate")."""
    try:
        return ssl.PEM_cert_to_DER_cert(pem.strip() + "\n")
    except ValueError as error:
        raise ConfigError("bad-certificate", f"not a PEM certificate: {error}") from error


def certificate_fault(pem: str) -> str | None:
    """Why links could not use a certificate, or not for ever; None if it is as ``make_certificate`` makes them."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        key = certificate.public_key()
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except UNREADABLE as error:
        return f"it is no certificate of a link: {error}"
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return "its key is not ECDSA P-256"
    if SERVER_NAME not in names.get_values_for_type(x509.DNSName):
        return f"it is not for {SERVER_NAME}"
    if not _is_named_by_key(certificate):
        return "its subject does not name its key: it could stand in the way of another's"
    if certificate.not_valid_after_utc < _NEVER:
        return f"it expires on {certificate.not_valid_after_utc:%Y-%m-%d}"
    return None


def last_day(der: bytes) -> datetime.date | None:
    """Until when TLS takes a certificate; None if it takes it never, being none."""
    try:
        return x509.load_der_x509_certificate(der).not_valid_after_utc.date()
    except UNREADABLE:
        return None


def matches(private_key: bytes, certificate: bytes) -> bool:
    """Whether the PEM private key belongs to the PEM certificate; raises ValueError if either is not one."""
    key = serialization.load_pem_private_key(private_key, password=None)
    return key.public_key() == x509.load_pem_x509_certificate(certificate).public_key()


class Handed:
    """What a server shows, as gRPC asks for it: at every handshake, from threads of its own. gRPC takes what it is
    given for its own and frees it, so each change is given once."""

    def __init__(self) -> None:
        self._unseen: deque[grpc.ServerCertificateConfiguration] = deque(maxlen=1)

    def hand(self, identity: TlsIdentity, roots: bytes | None) -> None:
        """From now on, show ``identity``, and believe ``roots``, if clients show anything. To be called before
        ``credentials``, too."""
        pair = (identity.private_key, identity.certificate)
        self._unseen.append(grpc.ssl_server_certificate_configuration([pair], roots))

    def credentials(self, *, require_client_authentication: bool) -> grpc.ServerCredentials:
        """For the server's port."""
        return grpc.dynamic_ssl_server_credentials(
            self._unseen.pop(),
            self._fetch,  # type: ignore[arg-type]  # None, for no change, is allowed, as gRPC documents it
            require_client_authentication=require_client_authentication,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        try:
            return self._unseen.pop()
        except IndexError:
            return None


class ServerCertificate:
    """What a server shows at a TLS handshake, and whom it lets in: both may change while it listens."""

    def __init__(self, identity: TlsIdentity) -> None:
        self._identity = identity
        self._pins: Sequence[str] = ()
        self._handed = Handed()

    def pin(self, certificates: Sequence[str]) -> None:
        """From now on, let in those alone who hold the key of one of these PEM certificates."""
        self._pins = certificates
        self._configure()

    def identify(self, identity: TlsIdentity) -> None:
        """From now on, show this certificate."""
        self._identity = identity
        self._configure()

    def credentials(self) -> grpc.ServerCredentials:
        """For the server's port."""
        return self._handed.credentials(require_client_authentication=True)

    def _configure(self) -> None:
        # Without any pin, gRPC would trust the system's authorities.
        self._handed.hand(self._identity, _joined(self._pins, self._identity))


def channel_credentials(identity: TlsIdentity, peer: Sequence[str]) -> grpc.ChannelCredentials:
    """Accepts only a server that holds the key of one of ``peer``'s certificates."""
    return grpc.ssl_channel_credentials(_joined(peer, identity), identity.private_key, identity.certificate)


def _joined(certificates: Sequence[str], identity: TlsIdentity) -> bytes:
    """The certificates to trust, or if there is none, this node's own, which nobody else has.

    What cannot be read is left out: TLS would trust none that comes after it, and one member's fault would be all's. So
    is what does not carry its own key's name: TLS would find it in place of the certificate whose name it has.
    """
    usable = [pem.strip() + "\n" for pem in certificates if _is_usable(pem)]
    return "".join(usable).encode() or identity.certificate


def _is_usable(pem: str) -> bool:
    try:
        return _is_named_by_key(x509.load_pem_x509_certificate(pem.encode()))
    except UNREADABLE:
        return False


def _is_named_by_key(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    names = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    return [name.value for name in names] == [_fingerprint(key)]
