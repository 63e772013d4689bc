"""The operations port behind mutual TLS: who may come in, and what the port shows; both may change while it listens."""

import asyncio
import logging
import secrets
import ssl
import tempfile
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from node.errors import ConfigError
from node.files import stamp
from node.pki.profile import Kind, describe, load_private_key
from node.pki.trust import Trust, load_trust
from node.transport.tls import UNREADABLE, TlsIdentity

log = logging.getLogger("watt.metrics")

WATCH_S: Final = 2.0
"""How often a running node looks whether its certificates, or those that it believes, are others."""


class OperatorsPort:
    """Lets in who holds an operator's certificate of ``member``, signed below a root in ``file``, and not revoked
    there.

    The file is read again when it has changed; ``show`` takes a renewed certificate.
    """

    def __init__(self, member: str, file: Path, identity: TlsIdentity) -> None:
        """Raises ConfigError("bad-ca")."""
        self._member = member
        self._file = file
        self._identity = identity
        self._stamp = stamp(file)
        self.trust = load_trust(file)
        self.context = server_context(identity, self.trust)
        """For the next connection."""

    def show(self, identity: TlsIdentity) -> None:
        """From now on, show this certificate."""
        self._identity = identity
        self.context = server_context(identity, self.trust)

    async def watch(self) -> None:
        """Read the file again whenever it has changed, until cancelled. One that cannot be used is logged, and what was
        read before stays in force."""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                if self._refresh():
                    log.info("operators-authorities file=%s: read again", self._file)
            except ConfigError as error:
                log.error("operators-authorities-not-used code=%s: %s", error.code, error.message)

    def _refresh(self) -> bool:
        now = stamp(self._file)
        if now == self._stamp:
            return False
        self._stamp = now
        self.trust = load_trust(self._file)
        self.context = server_context(self._identity, self.trust)
        return True

    def fault(self, der: bytes | None) -> str | None:
        """Why the holder of a certificate, whose chain TLS has checked, may not come in; None if it may."""
        if der is None:
            return "no certificate was shown"
        try:
            certificate = x509.load_der_x509_certificate(der)
            subject = describe(certificate).subject
        except (*UNREADABLE, ConfigError):
            return "it is no operator's certificate"
        if subject.kind is not Kind.OPERATOR:
            return f"it is for a certificate of kind {subject.kind}, not an operator's"
        if subject.member != self._member:
            return f"it is of an operator of `{subject.member}`"
        return self.trust.revoked(certificate)


def server_context(identity: TlsIdentity, trust: Trust) -> ssl.SSLContext:
    """TLS 1.2 or later, for those alone who show a client's certificate below one of the roots."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=trust.roots_pem.decode("ascii"))
    use_identity(context, identity)
    return context


def use_identity(context: ssl.SSLContext, identity: TlsIdentity) -> None:
    """Load a certificate and its key, which OpenSSL takes from a file alone: it is encrypted there under a password
    that nobody else learns, and gone at once."""
    password = secrets.token_bytes(32).hex()
    encrypted = load_private_key(identity.private_key).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    with tempfile.NamedTemporaryFile(prefix="watt-") as file:
        file.write(identity.certificate + encrypted)
        file.flush()
        context.load_cert_chain(file.name, password=password)
