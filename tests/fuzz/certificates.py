"""What is read of certificates: files of authorities, chains, requests, the register of a CA, what a peer shows."""

import datetime
import functools
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from node.errors import ConfigError
from node.keyfile import TESTNET
from node.pki import register as registers
from node.pki.authority import Authority, accept, create_member, create_root
from node.pki.holder import OPERATOR_REQUEST, request_for_operator
from node.pki.profile import Kind, read_request
from node.pki.serving import OperatorsPort
from node.pki.trust import read_chain, read_trust
from node.transport.tls import TlsIdentity, make_certificate
from tests.fuzz.targets import target

_SECRET = "secret"


@functools.cache
def _made() -> dict[str, bytes]:
    """One of each kind."""
    now = datetime.datetime.now(datetime.UTC)
    with tempfile.TemporaryDirectory() as name:
        at = Path(name)
        create_root(at / "root", "Street", _SECRET, now, limits=TESTNET)
        asked = create_member(at / "ca", "utility", _SECRET, TESTNET).read_bytes()
        accept(at / "ca", Authority.open(at / "root", _SECRET).issue_member(asked, "utility", (), now))
        authority = Authority.open(at / "ca", _SECRET)
        request = request_for_operator(at / "alice", "utility", "alice", _SECRET, TESTNET).read_bytes()
        chain = authority.issue_leaf(request, Kind.OPERATOR, now)
        authority.sign_list(now)
        assert (at / "alice" / OPERATOR_REQUEST).exists()
        return {
            "trust": (at / "root" / "ca.crt").read_bytes() + (at / "ca" / "ca.crl").read_bytes(),
            "chain": chain,
            "request": request,
            "register": (at / "ca" / registers.REGISTER_NAME).read_bytes(),
            "shown": read_chain(chain)[0].public_bytes(Encoding.DER),
        }


@functools.cache
def _port() -> OperatorsPort:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "operators.pem"
        path.write_bytes(_made()["trust"])
        return OperatorsPort("utility", path, TlsIdentity(*make_certificate("utility")))


@target(ConfigError, seeds=lambda: (_made()["trust"],))
def authorities(data: bytes) -> object:
    return read_trust(data)


@target(ConfigError, seeds=lambda: (_made()["chain"],))
def certificate_chain(data: bytes) -> object:
    return read_chain(data)


@target(ConfigError, seeds=lambda: (_made()["request"],))
def certificate_request(data: bytes) -> object:
    return read_request(data)


@target(ConfigError, seeds=lambda: (_made()["register"],))
def register(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / registers.REGISTER_NAME).write_bytes(data)
        return registers.read_register(Path(name))


@target(seeds=lambda: (_made()["shown"],))
def operators_certificate(data: bytes) -> object:
    return _port().fault(data)
