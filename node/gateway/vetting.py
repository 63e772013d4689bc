"""A client's look at a gateway's certificate before it speaks to it.

The TLS of gRPC knows no revocation lists. So a client makes one connection of its own first: there the chain, the name
and the time are checked, then whether the certificate, or the CA above it, was revoked, as far as the client's file of
authorities says. Then gRPC is told to believe that one certificate and no other: nobody can show another in between.
"""

import asyncio
import datetime
import ssl
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from node.config import split_address
from node.errors import RefusedError
from node.gateway.codes import UNREACHABLE, UNTRUSTED
from node.pki.profile import certificate_pem
from node.pki.trust import Trust
from node.transport.tls import UNREADABLE

_SECONDS: Final = 10.0
_ENDED: Final = "shows a certificate that has expired: its operator renews it with `watt ca renew`"
_STRANGE: Final = "shows a certificate that nobody vouches for whom you trust"
_WORDS: Final = {
    7: _STRANGE,
    9: "shows a certificate that is not valid yet; is the clock right?",
    10: _ENDED,
    18: _STRANGE,
    19: _STRANGE,
    20: _STRANGE,
    21: _STRANGE,
    62: "shows a certificate for another address",
    64: "shows a certificate for another address",
}
"""OpenSSL's codes of what is wrong with a certificate, and what people read."""


@dataclass(frozen=True)
class Vetted:
    """A gateway's certificate (PEM) that was found good, the member that it names, and when it ends."""

    certificate: bytes
    member: str
    ends: datetime.datetime


async def vet(address: str, trust: Trust) -> Vetted:
    """Look at the certificate that the gateway at ``address`` shows.

    Raises RefusedError: "unreachable" if nobody answers there, "untrusted-node" if whoever does is not to be believed.
    The messages go on after the address.
    """
    host, port = split_address(address)
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=client_context(trust), server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        words = f"shows a certificate that is not good here: {error.verify_message}"
        raise RefusedError(UNTRUSTED, _WORDS.get(error.verify_code, words)) from error
    except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError, EOFError) as error:
        raise RefusedError(UNTRUSTED, "speaks no TLS") from error
    except (OSError, TimeoutError) as error:
        raise RefusedError(UNREACHABLE, "does not answer") from error
    try:
        der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()  # nothing was said, and there is nothing to say
    try:
        certificate = x509.load_der_x509_certificate(der)
    except UNREADABLE as error:
        raise RefusedError(UNTRUSTED, f"shows a certificate that cannot be read: {error}") from error
    why = trust.revoked(certificate)
    if why is not None:
        raise RefusedError(UNTRUSTED, f"shows a certificate that is not good any more: {why}")
    member = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return Vetted(certificate_pem(certificate), str(member[0].value) if member else "", certificate.not_valid_after_utc)


def client_context(trust: Trust) -> ssl.SSLContext:
    """Believes the roots alone; asks for what gRPC speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=trust.roots_pem.decode("ascii"))
    context.set_alpn_protocols(["h2"])
    return context
