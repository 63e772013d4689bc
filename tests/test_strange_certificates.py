"""Certificates, requests and lists that no honest program makes: each reader refuses them in its own words, none falls.

A member's certificate is looked at by its form alone when it is voted in, so every node reads what a stranger made.
"""

import base64
import datetime
from collections.abc import Callable

import pytest

from node.errors import ConfigError
from node.pki.profile import Kind, Subject, certificate_pem, describe, make_request, make_root, new_key, read_request
from node.pki.trust import read_chain, read_trust
from node.transport.tls import TlsIdentity, _joined, certificate_fault, last_day, make_certificate

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
GATEWAY = Subject(Kind.GATEWAY, "utility", ("127.0.0.1",))
VERSION = (bytes.fromhex("a003020102"), bytes.fromhex("a003020107"))
REQUEST_VERSION = (bytes.fromhex("020100"), bytes.fromhex("020107"))
TWICE = (bytes.fromhex("0603551d0f"), bytes.fromhex("0603551d13"))
"""Key usage becomes a second extension of basic constraints."""
NAME = (bytes.fromhex("87047f000001"), bytes.fromhex("a30430020500"))
"""An address becomes an X.400 address."""


def altered(pem: bytes, change: tuple[bytes, bytes]) -> bytes:
    """Another PEM, its signature no longer good: nothing gets so far as to look."""
    first, *body, last = pem.splitlines()
    der = base64.b64decode(b"".join(body))
    assert change[0] in der
    return b"\n".join([first, base64.encodebytes(der.replace(*change, 1)).strip(), last, b""])


def code_of(read: Callable[[bytes], object], data: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(data)
    return caught.value.code


@pytest.mark.parametrize("change", [REQUEST_VERSION, TWICE, NAME])
def test_a_strange_request_is_refused(change: tuple[bytes, bytes]) -> None:
    assert code_of(read_request, altered(make_request(new_key(), GATEWAY), change)) == "bad-request"


@pytest.mark.parametrize("change", [VERSION, TWICE])
def test_a_strange_root_is_not_believed(change: tuple[bytes, bytes]) -> None:
    strange = altered(certificate_pem(make_root(new_key(), "Street", NOW, 30)), change)
    assert code_of(read_trust, strange) == "bad-ca"
    assert code_of(lambda data: describe(read_chain(data)[0]), strange) == "bad-certificate"


@pytest.mark.parametrize("change", [VERSION, (bytes.fromhex("0603551d11"), bytes.fromhex("0603551d13"))])
def test_a_strange_certificate_of_a_link_harms_nobody_else(change: tuple[bytes, bytes]) -> None:
    """The subject's alternative name becomes a second extension of basic constraints, or the version is none."""
    private, own = make_certificate("ada")
    other = make_certificate("bob")[1].decode()
    strange = altered(make_certificate("eve")[1], change).decode()
    fault = certificate_fault(strange)
    assert fault is not None and fault.startswith("it is no certificate of a link")
    assert last_day(base64.b64decode("".join(strange.splitlines()[1:-1]))) is None or change is not VERSION
    trusted = _joined([strange, other], TlsIdentity(private, own))
    assert other.strip().encode() in trusted
    assert change is not VERSION or strange.splitlines()[2].encode() not in trusted
