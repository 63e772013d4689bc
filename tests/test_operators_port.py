"""The operations port behind mutual TLS bears whatever strangers send, and takes up what changes."""

import asyncio
import contextlib
import datetime
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from node import metrics_server
from node.config import split_address
from node.keyfile import TESTNET
from node.limits import METRICS_CONNECTIONS
from node.metrics import Metrics
from node.metrics_server import MetricsServer
from node.pki import serving
from node.pki.authority import Authority, accept, create_member, create_root
from node.pki.profile import Kind, Subject, describe, key_bytes, make_request, new_key
from node.pki.serving import OperatorsPort, use_identity
from node.pki.trust import read_chain
from node.transport.tls import TlsIdentity
from testnet.genesis import free_ports
from tests.test_diagnosis import HEALTHY

SECRET = "secret"


@dataclass(frozen=True)
class Port:
    """One that listens, with what it believes in ``file``."""

    address: str
    operators: OperatorsPort
    root: Authority
    member: Authority
    file: Path

    def issued(self, kind: Kind, *names: str) -> TlsIdentity:
        key, now = new_key(), datetime.datetime.now(datetime.UTC)
        request = make_request(key, Subject(kind, "utility", names))
        return TlsIdentity(key_bytes(key), self.member.issue_leaf(request, kind, now))

    def context(self, identity: TlsIdentity | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=(self.root.directory / "ca.crt").read_text())
        if identity is not None:
            use_identity(context, identity)
        return context

    async def status(self, identity: TlsIdentity | None) -> bytes:
        """The first line of the answer to an operator; empty if it is not let in."""
        host, port = split_address(self.address)
        try:
            reader, writer = await asyncio.open_connection(host, port, ssl=self.context(identity))
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            answer = await reader.read()
        except OSError:
            return b""
        writer.close()
        return answer.partition(b"\r\n")[0]


def with_port(tmp_path: Path, scenario: Callable[[Port], Awaitable[None]]) -> None:
    """Run a scenario beside a server, which must still answer an operator afterwards."""
    now = datetime.datetime.now(datetime.UTC)
    create_root(tmp_path / "root", "Street", SECRET, now, limits=TESTNET)
    root = Authority.open(tmp_path / "root", SECRET)
    request = create_member(tmp_path / "ca", "utility", SECRET, TESTNET).read_bytes()
    accept(tmp_path / "ca", root.issue_member(request, "utility", (), now))
    member = Authority.open(tmp_path / "ca", SECRET)
    file = tmp_path / "operators.pem"
    file.write_bytes((tmp_path / "root" / "ca.crt").read_bytes())

    async def run() -> None:
        address = f"127.0.0.1:{free_ports(1)[0]}"
        key = new_key()
        asked = make_request(key, Subject(Kind.GATEWAY, "utility", ("127.0.0.1",)))
        shown = TlsIdentity(key_bytes(key), member.issue_leaf(asked, Kind.GATEWAY, now))
        operators = OperatorsPort("utility", file, shown)
        server = MetricsServer(address, Metrics(lambda: HEALTHY).registry, tuple, operators)
        await server.start()
        try:
            port = Port(address, operators, root, member, file)
            await scenario(port)
            assert await port.status(port.issued(Kind.OPERATOR, "alice")) == b"HTTP/1.1 200 OK"
        finally:
            await server.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    "garbage",
    [b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(2000), os.urandom(5000), b"\x80" * 70_000],
)
def test_garbage_gets_nothing(tmp_path: Path, garbage: bytes) -> None:
    """Checklist 59, for the operators' port."""

    async def scenario(port: Port) -> None:
        reader, writer = await asyncio.open_connection(*split_address(port.address))
        writer.write(garbage)
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):  # as good
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 5)
        writer.close()

    with_port(tmp_path, scenario)


def test_handshakes_that_never_end_are_few_and_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 59: a connection counts from its first byte on."""
    monkeypatch.setattr(metrics_server, "METRICS_SECONDS", 0.5)

    async def scenario(port: Port) -> None:
        silent = [await asyncio.open_connection(*split_address(port.address)) for _ in range(METRICS_CONNECTIONS)]
        await asyncio.sleep(0.05)
        assert await port.status(port.issued(Kind.OPERATOR, "alice")) == b""  # no room
        for reader, writer in silent:
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    with_port(tmp_path, scenario)


def test_what_changes_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revoked operator, a file that cannot be used, and a renewed certificate to show."""
    monkeypatch.setattr(serving, "WATCH_S", 0.05)

    async def scenario(port: Port) -> None:
        alice = port.issued(Kind.OPERATOR, "alice")
        assert await port.status(alice) == b"HTTP/1.1 200 OK"
        now = datetime.datetime.now(datetime.UTC)
        port.member.revoke(describe(read_chain(alice.certificate)[0]).serial, "key-compromise", now)
        port.file.write_bytes(port.file.read_bytes() + (port.member.directory / "ca.crl").read_bytes())
        deadline = time.monotonic() + 10
        while await port.status(alice) != b"HTTP/1.1 403 Forbidden":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        port.file.write_bytes(b"no certificates")
        await asyncio.sleep(0.2)
        assert await port.status(alice) == b"HTTP/1.1 403 Forbidden"  # what was read before stays in force

        renewed = port.issued(Kind.GATEWAY, "127.0.0.1")
        port.operators.show(renewed)
        host, number = split_address(port.address)

        def shown() -> bytes | None:
            with (
                socket.create_connection((host, number)) as plain,
                port.context(None).wrap_socket(plain, server_hostname=host) as connection,
            ):
                return connection.getpeercert(binary_form=True)

        der = await asyncio.to_thread(shown)
        assert der == ssl.PEM_cert_to_DER_cert(
            renewed.certificate.decode().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
        )

    with_port(tmp_path, scenario)
