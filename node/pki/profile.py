"""What certificates say: four kinds, one form each (X.509 version 3, RFC 5280), ECDSA P-256 with SHA-256.

    root       the consortium's; signs CAs of members, one below it and no more
    member     a member's CA; signs gateways and operators of its own organisation and DNS names alone
    gateway    a server: DNS names and addresses that clients reach it by
    operator   a client: a person or program that may use the operations port of the member's nodes

The kind is read from what verifiers enforce (basic constraints, extended key usage), not from a name. The member is the
subject's organisation, and a member's CA is held to it by name constraints. There are none for addresses: the TLS of
gRPC refuses every chain that has them (docs/decisions/0037). Every certificate names the serial number of its issuer's,
so that a revoked CA is recognised from what it signed.
"""

import datetime
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.errors import ConfigError
from node.model.genesis import member_name_fault
from node.transport.tls import UNREADABLE

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey

BACKDATED: Final = datetime.timedelta(hours=1)
"""Certificates begin before they are made: clocks differ."""
MAX_NAMES: Final = 16
MAX_NAME: Final = 48
_DNS = re.compile(r"(?=.{1,253}\Z)(?!.*\.[0-9]+\Z)(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*\Z")
"""In small letters, the last part not a number: that is a mistaken address."""


class Kind(StrEnum):
    """What a certificate is for."""

    ROOT = "root"
    MEMBER = "member"
    GATEWAY = "gateway"
    OPERATOR = "operator"


DAYS: Final = {Kind.ROOT: 3650, Kind.MEMBER: 730, Kind.GATEWAY: 30, Kind.OPERATOR: 30}
"""How long each lives if nothing else is asked for."""
MAX_DAYS: Final = {Kind.ROOT: 7300, Kind.MEMBER: 1830, Kind.GATEWAY: 90, Kind.OPERATOR: 90}
"""And at most: what is lost or stolen is to end by itself soon."""
_USES: Final = {Kind.GATEWAY: ExtendedKeyUsageOID.SERVER_AUTH, Kind.OPERATOR: ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for. ``member``: the organisation, for a root the consortium's name; ``names``: of a
    gateway its DNS names and addresses, of an operator its one name, of a member's CA the DNS names that it may sign
    below."""

    kind: Kind
    member: str
    names: tuple[str, ...] = ()


def check_subject(subject: Subject) -> Subject:
    """The same, if such a certificate can be. Raises ConfigError("bad-names")."""
    fault = _member_fault(subject) or _names_fault(subject)
    if fault is not None:
        raise ConfigError("bad-names", fault)
    return subject


def new_key() -> PrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_bytes(key: PrivateKey) -> bytes:
    """PKCS 8, PEM, unencrypted: seal it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_private_key(pem: bytes) -> PrivateKey:
    """The key in ``pem``. Raises ConfigError("bad-key-file")."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError("bad-key-file", "what is sealed is no private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError("bad-key-file", "what is sealed is no P-256 key")
    return key


def public_bytes(key: PublicKey) -> bytes:
    """The point, compressed: what keys are compared by."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def make_root(key: PrivateKey, name: str, now: datetime.datetime, days: int) -> x509.Certificate:
    """A consortium's own certificate."""
    subject = check_subject(Subject(Kind.ROOT, name))
    return _sign(subject, key.public_key(), key, None, now, days)


def issue(
    issuer: x509.Certificate, key: PrivateKey, subject: Subject, public: PublicKey, now: datetime.datetime, days: int
) -> x509.Certificate:
    """A certificate below ``issuer``'s, which ends first if it would outlive it.

    Raises ConfigError: "bad-names", "not-below" (this CA does not sign such a certificate), "too-long",
    "certificate-expired" (the CA's own).
    """
    check_subject(subject)
    above = describe(issuer).subject
    if issuer.not_valid_after_utc <= now:
        raise ConfigError(
            "certificate-expired", f"the CA's own certificate ended on {issuer.not_valid_after_utc:%Y-%m-%d}"
        )
    if above.kind is Kind.ROOT and subject.kind is not Kind.MEMBER:
        raise ConfigError(
            "not-below", "the root signs members' CAs alone: a member's CA issues to gateways and operators"
        )
    if above.kind is Kind.MEMBER:
        if subject.kind not in _USES:
            raise ConfigError("not-below", "a member's CA issues to gateways and operators alone")
        if subject.member != above.member:
            raise ConfigError("not-below", f"the request is for `{subject.member}`, this is the CA of `{above.member}`")
        outside = [name for name in _dns_names(subject) if not _is_within(name, above.names)]
        if outside:
            raise ConfigError(
                "not-below", f"not below the names of this CA ({', '.join(above.names) or 'none'}): {outside[0]}"
            )
    return _sign(subject, public, key, issuer, now, days)


@dataclass(frozen=True)
class Facts:
    """What a certificate says. ``serial``: in hex."""

    subject: Subject
    serial: str
    begins: datetime.datetime
    ends: datetime.datetime
    public_key: bytes


def describe(certificate: x509.Certificate) -> Facts:
    """Raises ConfigError("bad-certificate") if it is none of ours."""
    try:
        public = certificate.public_key()
        kind = _kind_of(certificate.extensions)
        organisation = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        names = _names_of(kind, certificate)
    except UNREADABLE as error:
        raise ConfigError("bad-certificate", f"not a certificate of a gateway, an operator or a CA: {error}") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise ConfigError("bad-certificate", "its key is not ECDSA P-256")
    if len(organisation) != 1:
        raise ConfigError("bad-certificate", "it names no organisation, or several")
    return Facts(
        Subject(kind, str(organisation[0].value), names),
        serial_text(certificate.serial_number),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        public_bytes(public),
    )


def serial_text(number: int) -> str:
    """A serial number as it is shown and asked for: hex."""
    return f"{number:040x}"


def make_request(key: PrivateKey, subject: Subject) -> bytes:
    """A request (PKCS 10, PEM) for a certificate of ``key``. Raises ConfigError("bad-names")."""
    check_subject(subject)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject, key.public_key()))
    for extension, critical in _extensions(subject):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_request(pem: bytes) -> tuple[Subject, PublicKey]:
    """What a request asks for, and the key that it is proven to be from. Raises ConfigError: "bad-request",
    "bad-names"."""
    try:
        request = x509.load_pem_x509_csr(pem)
        public = request.public_key()
        kind = _kind_of(request.extensions)
        organisation = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        names = _names_of(kind, request)
        is_proven = request.is_signature_valid
    except (*UNREADABLE, InvalidSignature, ConfigError) as error:
        raise ConfigError("bad-request", f"not a request that `watt` makes: {error}") from error
    if not is_proven or not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise ConfigError("bad-request", "it is not signed by the P-256 key that it names")
    if len(organisation) != 1:
        raise ConfigError("bad-request", "it names no organisation, or several")
    return check_subject(Subject(kind, str(organisation[0].value), names)), public


def _sign(
    subject: Subject,
    public: PublicKey,
    key: PrivateKey,
    issuer: x509.Certificate | None,
    now: datetime.datetime,
    days: int,
) -> x509.Certificate:
    if not 1 <= days <= MAX_DAYS[subject.kind]:
        raise ConfigError("too-long", f"a certificate of kind {subject.kind} lives 1 to {MAX_DAYS[subject.kind]} days")
    name = _name(subject, public)
    ends = now + datetime.timedelta(days=days)
    if issuer is not None:
        ends = min(ends, issuer.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_authority(key, issuer), critical=False)
    )
    for extension, critical in _extensions(subject):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256())


def _authority(key: PrivateKey, issuer: x509.Certificate | None) -> x509.AuthorityKeyIdentifier:
    by_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    if issuer is None:
        return by_key
    return x509.AuthorityKeyIdentifier(by_key.key_identifier, [x509.DirectoryName(issuer.issuer)], issuer.serial_number)


def _extensions(subject: Subject) -> list[tuple[x509.ExtensionType, bool]]:
    """What is in the certificate as in the request for it; whether it is critical."""
    if subject.kind in (Kind.ROOT, Kind.MEMBER):
        depth = 1 if subject.kind is Kind.ROOT else 0
        found: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=True, path_length=depth), True),
            (_usage(signs_certificates=True), True),
        ]
        if subject.kind is Kind.MEMBER:
            found.append((_constraints(subject), True))
        return found
    found = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage([_USES[subject.kind]]), False),
    ]
    if subject.kind is Kind.GATEWAY:
        found.append((x509.SubjectAlternativeName([_general_name(name) for name in subject.names]), False))
    return found


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _constraints(subject: Subject) -> x509.NameConstraints:
    """Its own organisation alone, and DNS names below those given; without any, none at all (the empty name has
    all)."""
    organisation = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject.member)]))
    if not subject.names:
        return x509.NameConstraints([organisation], [x509.DNSName("")])
    return x509.NameConstraints([organisation, *map(x509.DNSName, subject.names)], None)


def _name(subject: Subject, public: PublicKey) -> x509.Name:
    """The common name has a space: nothing takes it for a host's. CAs have their key's digest in their name, because
    TLS looks for an issuer by its name."""
    shown = {
        Kind.ROOT: "consortium root",
        Kind.MEMBER: "member CA",
        Kind.GATEWAY: "gateway of " + subject.member,
        Kind.OPERATOR: "operator " + "".join(subject.names),
    }[subject.kind]
    parts = [(NameOID.ORGANIZATION_NAME, subject.member), (NameOID.COMMON_NAME, shown)]
    if subject.kind in (Kind.ROOT, Kind.MEMBER):
        parts.append((NameOID.SERIAL_NUMBER, sha256(public_bytes(public)).hexdigest()[:32]))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _kind_of(extensions: x509.Extensions) -> Kind:
    """Raises ConfigError("bad-certificate"), and UNREADABLE."""
    basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    if basic.ca:
        return Kind.MEMBER if basic.path_length == 0 else Kind.ROOT
    uses = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    for kind, use in _USES.items():
        if uses == [use]:
            return kind
    raise ConfigError("bad-certificate", "it is neither for a server alone nor for a client alone")


def _names_of(kind: Kind, source: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    if kind is Kind.GATEWAY:
        names = source.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))
    if kind is Kind.OPERATOR:
        common = source.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(name.value).removeprefix("operator ") for name in common)
    if kind is Kind.MEMBER:
        constraints = source.extensions.get_extension_for_class(x509.NameConstraints).value
        return tuple(name.value for name in constraints.permitted_subtrees or () if isinstance(name, x509.DNSName))
    return ()


def _general_name(name: str) -> x509.GeneralName:
    address = _address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _dns_names(subject: Subject) -> list[str]:
    return [name for name in subject.names if _address(name) is None] if subject.kind is Kind.GATEWAY else []


def _is_within(name: str, bases: Sequence[str]) -> bool:
    return any(name == base or name.endswith("." + base) for base in bases)


def _member_fault(subject: Subject) -> str | None:
    if subject.kind is Kind.ROOT:
        name = subject.member
        return (
            None
            if name.isprintable() and 1 <= len(name) <= MAX_NAME
            else f"a consortium's name has 1 to {MAX_NAME} letters"
        )
    return member_name_fault(subject.member)


def _names_fault(subject: Subject) -> str | None:
    names = subject.names
    if subject.kind is Kind.OPERATOR:
        return member_name_fault(names[0]) if len(names) == 1 else "an operator has one name"
    if len(names) > MAX_NAMES or len(set(names)) != len(names):
        return f"at most {MAX_NAMES} names, all different"
    if subject.kind is Kind.GATEWAY and not names:
        return "a gateway has at least one name or address that clients reach it by"
    for name in names:
        address = _address(name) if subject.kind is Kind.GATEWAY else None
        if address is None and not _DNS.match(name):
            return f"{name[:80]!r} is no DNS name in small letters" + (
                ", nor an address" if subject.kind is Kind.GATEWAY else ""
            )
        if address is not None and (str(address) != name or address.is_unspecified):
            return f"{name[:80]!r} is no address in its short form that clients can reach"
    return None
