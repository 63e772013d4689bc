"""Whom to believe: the file of authorities that clients and nodes are given (``--ca``, ``[metrics] operators``).

PEM, in any order, as ``cat`` makes it: certificates of consortium roots, and revocation lists, each with the
certificate of the CA that signed it. Only roots are believed; the others are there to check lists with. A list that is
past its time still counts for what it says: what is missing in it is bounded by the short life of certificates
(docs/identity.md).
"""

import datetime
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from node.errors import ConfigError
from node.files import read_given
from node.pki.profile import Facts, certificate_pem
from node.transport.tls import UNREADABLE

MAX_FILE_BYTES: Final = 1 << 20
MAX_CERTIFICATES: Final = 256
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n[A-Za-z0-9+/=\s]*-----END \1-----")


@dataclass(frozen=True)
class Revocations:
    """A revocation list whose signature was checked. ``serials``: of the certificates that are not good any more."""

    issuer: x509.Name
    issuer_key: bytes | None
    serials: frozenset[int]
    until: datetime.datetime


@dataclass(frozen=True)
class Trust:
    """The roots that are believed, and what was revoked below them."""

    roots: tuple[x509.Certificate, ...]
    revocations: tuple[Revocations, ...] = ()

    @property
    def roots_pem(self) -> bytes:
        """The roots alone."""
        return b"".join(map(certificate_pem, self.roots))

    def revoked(self, certificate: x509.Certificate) -> str | None:
        """Why a certificate whose chain holds is not good all the same; None if nothing is known against it: without
        any list, nothing is.

        The CA above it is known by what the certificate itself says of it, as ``profile.py`` makes them; TLS has
        checked that this is the CA in the chain.
        """
        if not self.revocations:
            return None
        try:
            above = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        except UNREADABLE:
            return "it does not say who signed it"
        if self._is_revoked(certificate.issuer, above.key_identifier, certificate.serial_number):
            return "it was revoked"
        serial, names = above.authority_cert_serial_number, list(above.authority_cert_issuer or ())
        if serial is None or len(names) != 1 or not isinstance(names[0], x509.DirectoryName):
            return "it does not say by which certificate its CA is known"
        # TLS takes names for the same that differ in capitals or spaces. A thief of a CA would write the root's so, and
        # no list would be found: the name has to be a root's to the letter.
        if names[0].value not in [root.subject for root in self.roots]:
            return "it names its CA's root otherwise than that names itself"
        return "the CA that signed it was revoked" if self._is_revoked(names[0].value, None, serial) else None

    def stale(self, now: datetime.datetime) -> list[str]:
        """The organisations whose lists are past their time."""
        late = [revocations.issuer for revocations in self.revocations if revocations.until <= now]
        return sorted({_organisation(issuer) for issuer in late})

    def _is_revoked(self, issuer: x509.Name, key: bytes | None, serial: int) -> bool:
        return any(
            serial in revocations.serials
            for revocations in self.revocations
            if revocations.issuer == issuer and (key is None or revocations.issuer_key in (None, key))
        )


def load_trust(path: Path) -> Trust:
    """Read a file of authorities. Raises ConfigError("bad-ca")."""
    return _load(path)[0]


def load_roots(path: Path) -> bytes:
    """The text of a file of authorities, which is one. Raises ConfigError("bad-ca")."""
    return _load(path)[1]


def _load(path: Path) -> tuple[Trust, bytes]:
    try:
        data = read_given(path, MAX_FILE_BYTES)
        return read_trust(data), data
    except OSError as error:
        raise ConfigError("bad-ca", f"{path}: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(error.code, f"{path}: {error.message}") from error


def read_trust(data: bytes) -> Trust:
    """The authorities in a PEM text. Raises ConfigError("bad-ca")."""
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError("bad-ca", "larger than any file of authorities")
    certificates: list[x509.Certificate] = []
    lists: list[x509.CertificateRevocationList] = []
    for match in _BLOCK.finditer(data):
        if b"PRIVATE KEY" in match[1]:
            raise ConfigError("bad-ca", "a private key is in it: that key is known to too many now, replace it")
        try:
            if match[1] == b"CERTIFICATE":
                certificates.append(x509.load_pem_x509_certificate(match[0]))
            elif match[1] == b"X509 CRL":
                lists.append(x509.load_pem_x509_crl(match[0]))
        except UNREADABLE as error:
            raise ConfigError("bad-ca", f"a part of it cannot be read: {error}") from error
    if len(certificates) + len(lists) > MAX_CERTIFICATES:
        raise ConfigError("bad-ca", f"more than {MAX_CERTIFICATES} parts")
    roots = tuple(certificate for certificate in certificates if _is_root(certificate))
    if not roots:
        raise ConfigError("bad-ca", "no root's certificate in PEM, signed by itself, is in it")
    signers = [*roots, *(member for member in certificates if any(is_signed_by(member, root) for root in roots))]
    return Trust(roots, tuple(_checked(found, signers) for found in lists))


def read_chain(data: bytes) -> tuple[x509.Certificate, ...]:
    """A certificate and those above it, as a server shows them: each signed by the next.

    Raises ConfigError("bad-certificate").
    """
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError("bad-certificate", "larger than any certificate")
    try:
        chain = tuple(x509.load_pem_x509_certificates(data))
        for below, above in itertools.pairwise(chain):
            if not is_signed_by(below, above):
                raise ConfigError(
                    "bad-certificate", "the certificates in it do not follow one another, each its signer"
                )
    except UNREADABLE as error:
        raise ConfigError("bad-certificate", f"not certificates in PEM: {error}") from error
    return chain


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and key are those that the certificate was signed with. Not: whether it may."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001  # of many kinds, one for each way in which bytes of strangers can be wrong
        return False
    return True


def warns_from(facts: Facts) -> datetime.datetime:
    """From when on people are told that a certificate ends: WARN_DAYS before, or at half of its life: two
    weeks before, of one of thirty days."""
    return facts.ends - min(datetime.timedelta(days=WARN_DAYS), (facts.ends - facts.begins) / 2)


WARN_DAYS: Final = 21


def _checked(found: x509.CertificateRevocationList, signers: list[x509.Certificate]) -> Revocations:
    for signer in signers:
        key = signer.public_key()
        if (
            found.issuer == signer.subject
            and isinstance(key, ec.EllipticCurvePublicKey)
            and found.is_signature_valid(key)
        ):
            break
    else:
        named = _organisation(found.issuer)
        raise ConfigError("bad-ca", f"a revocation list of `{named}` is not signed by a CA that is in it, too")
    try:
        above = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        above = None
    except UNREADABLE as error:
        raise ConfigError("bad-ca", f"a revocation list cannot be read: {error}") from error
    until = found.next_update_utc
    if until is None:
        raise ConfigError("bad-ca", "a revocation list does not say until when it is good")
    return Revocations(found.issuer, above, frozenset(revoked.serial_number for revoked in found), until)


def _is_root(certificate: x509.Certificate) -> bool:
    """Also one that is not of our making: a gateway may stand behind a proxy with a certificate of its own kind."""
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except UNREADABLE:
        return False
    return basic.ca and is_signed_by(certificate, certificate)


def _organisation(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else "?"
