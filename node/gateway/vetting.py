"""A client's look at a gateway's certificate before it speaks to it.

The TLS of gRPC says of a server that it does not accept nothing but "unavailable", and knows no revocation. So a client
makes one connection of its own first: there the chain, the name and the time are checked, then whether the certificate,
or the CA above it, was revoked, as far as the client's file of authorities says. Then gRPC is told to believe that one
certificate and no other: nobody can show another one in between.
"""

import asyncio
import datetime
import ssl
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from node.config import split_address
from node.errors import ConfigError, RefusedError
from node.pki.profile import Facts, Kind, certificate_pem, describe
from node.pki.trust import Trust

WRONG_GATEWAY: Final = "wrong-gateway"
_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Vetted:
    """A gateway's certificate (PEM) that was found good, and what it says: the member whose gateway it is, and its
    end."""

    certificate: bytes
    facts: Facts


async def vet(address: str, trust: Trust) -> Vetted:
    """Look at the certificate that the gateway at ``address`` shows.

    Raises RefusedError: "unreachable" if nobody listens there, "wrong-gateway" if whoever does cannot be believed: the
    message says why.
    """
    host, port = split_address(address)
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=client_context(trust), server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise RefusedError(WRONG_GATEWAY, f"{address} {_said(error)}") from error
    except (ssl.SSLError, ConnectionResetError, EOFError) as error:
        raise RefusedError(WRONG_GATEWAY, f"{address} does not speak TLS: is it a plain gateway?") from error
    except (OSError, TimeoutError) as error:
        raise RefusedError("unreachable", f"{address} does not answer") from error
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()  # nothing was said, and there is nothing to say
    return _checked(address, x509.load_der_x509_certificate(der), trust)


def client_context(trust: Trust) -> ssl.SSLContext:
    """Believes the roots alone; asks for what gRPC speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=trust.roots_pem.decode("ascii"))
    context.set_alpn_protocols(["h2"])
    return context


def days_left(facts: Facts, now: datetime.datetime) -> int:
    """Whole days until a certificate ends."""
    return (facts.ends - now).days


def _checked(address: str, certificate: x509.Certificate, trust: Trust) -> Vetted:
    try:
        facts = describe(certificate)
    except ConfigError as error:
        raise RefusedError(WRONG_GATEWAY, f"{address} shows a certificate of another kind: {error.message}") from error
    why = trust.revoked(certificate)
    if facts.subject.kind is not Kind.GATEWAY:
        why = f"it is for a certificate of kind {facts.subject.kind}"
    if why is not None:
        raise RefusedError(WRONG_GATEWAY, f"{address} shows a certificate that is not good: {why}")
    return Vetted(certificate_pem(certificate), facts)


def _said(error: ssl.SSLCertVerificationError) -> str:
    """OpenSSL's reason in words of ours where people meet it."""
    words = {
        10: "shows a certificate that has expired: its operator renews it with `watt ca renew`",
        9: "shows a certificate that is not good yet: compare the clocks",
        18: "shows a certificate of its own making: somebody may stand in between",
        19: "shows a certificate of another consortium: somebody may stand in between, or --ca is another network's",
        20: "shows a certificate of another consortium: somebody may stand in between, or --ca is another network's",
    }
    return words.get(error.verify_code, f"shows a certificate that is not good here: {error.verify_message}")
