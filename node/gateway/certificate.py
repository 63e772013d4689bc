"""What a gateway shows to its clients: a certificate of the member's CA and its sealed key, taken up anew when it
changes.

``watt node install-certificate`` puts a renewed certificate in place; a running node looks every WATCH_S, and shows it
from the next connection on. Whatever is wrong with it then is logged, and the one before stays in use. That it ends is
said for weeks before, and ends nothing here: clients refuse an expired one, and blocks are made all the same.
"""

import asyncio
import datetime
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
from cryptography import x509

from node.config import Config, is_loopback
from node.diagnosis import RENEWAL_ADVICE
from node.errors import ConfigError
from node.files import read_given, stamp
from node.keyfile import KIND_TLS_KEY, unseal
from node.pki.holder import NEXT
from node.pki.profile import Facts, Kind, describe, load_private_key, public_bytes
from node.pki.serving import WATCH_S, OperatorsPort
from node.pki.trust import read_chain, warns_from
from node.transport.tls import Handed, TlsIdentity

log = logging.getLogger("watt.gateway")

SAY_AGAIN_S: Final = 24 * 3600.0


@dataclass(frozen=True)
class Shown:
    """A certificate with its key, and what it says. ``above``: of those above it, the one that ends first."""

    identity: TlsIdentity
    facts: Facts
    above: Facts


def require_closed(config: Config) -> None:
    """Ports that others can reach are closed by TLS. Raises ConfigError: "gateway-not-closed",
    "operations-not-closed"."""
    if not config.gateway.certificate and not is_loopback(config.gateway.listen):
        raise ConfigError(
            "gateway-not-closed",
            f"gateway.listen = {config.gateway.listen} can be reached from elsewhere, and [gateway] has no certificate",
        )
    if config.metrics.listen and not config.metrics.operators and not is_loopback(config.metrics.listen):
        raise ConfigError(
            "operations-not-closed",
            f"metrics.listen = {config.metrics.listen} can be reached from elsewhere, and [metrics] names no operators",
        )


def read_shown(certificate_file: Path, key_file: Path, passphrase: str) -> Shown:
    """The certificate in a file with the key in the other, or in that with NEXT at its end.

    Raises ConfigError: "bad-gateway-certificate", "wrong-passphrase".
    """
    try:
        data = read_given(certificate_file)
        chain = read_chain(data)
        facts = gateway_facts(chain)
        above = min(map(describe, chain[1:]), key=lambda each: each.ends)
        return Shown(TlsIdentity(_key_of(facts, key_file, passphrase), data), facts, above)
    except OSError as error:
        raise ConfigError("bad-gateway-certificate", f"{certificate_file}: {error.strerror}") from error
    except ConfigError as error:
        if error.code == "wrong-passphrase":
            raise
        raise ConfigError("bad-gateway-certificate", f"{certificate_file}: {error.message}") from error


def gateway_facts(chain: tuple[x509.Certificate, ...]) -> Facts:
    """What a chain for a gateway says. Raises ConfigError("bad-certificate") if it is for anything else."""
    if len(chain) < 2:
        raise ConfigError("bad-certificate", "the certificate of the CA that signed it is not in it")
    facts = describe(chain[0])
    if facts.subject.kind is not Kind.GATEWAY:
        raise ConfigError("bad-certificate", f"it is for a certificate of kind {facts.subject.kind}, not a gateway's")
    return facts


class GatewayCertificate:
    """The certificate in use. Made before the loop runs; ``watch`` runs in it."""

    def __init__(self, certificate_file: Path, key_file: Path, passphrase: str) -> None:
        """Raises ConfigError: "bad-gateway-certificate", "wrong-passphrase"."""
        self._files = (certificate_file, key_file)
        self._passphrase = passphrase
        self._seen = self._stamps()
        self.shown = read_shown(*self._files, passphrase)
        self._handed = Handed()
        self._configure()
        self._said = -SAY_AGAIN_S
        self.on_change: Callable[[], None] = lambda: None

    def credentials(self) -> grpc.ServerCredentials:
        """For the server's port."""
        return self._handed.credentials(require_client_authentication=False)

    async def watch(self) -> None:
        """Take up what changes, and say what ends, until cancelled."""
        while True:
            self._say_end()
            await asyncio.sleep(WATCH_S)
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps
                await self._take_up()

    async def _take_up(self) -> None:
        try:  # to unseal takes a second
            shown = await asyncio.to_thread(read_shown, *self._files, self._passphrase)
        except ConfigError as error:
            log.error(
                "gateway-certificate-not-used code=%s: %s; the one before stays in use", error.code, error.message
            )
            return
        if shown.identity == self.shown.identity:
            return
        self.shown = shown
        self._configure()
        self._said = -SAY_AGAIN_S
        log.info(
            "gateway-certificate serial=%s until=%s: clients see it from now on",
            shown.facts.serial,
            f"{shown.facts.ends:%Y-%m-%d}",
        )
        self.on_change()

    def ends(self) -> tuple[tuple[str, Facts], ...]:
        """What each certificate is for, of those whose end is the gateway's: its own, and its CA's."""
        return (("gateway", self.shown.facts), ("ca", self.shown.above))

    def _say_end(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        ending = [(use, facts) for use, facts in self.ends() if now >= warns_from(facts)]
        if not ending or time.monotonic() - self._said < SAY_AGAIN_S:
            return
        self._said = time.monotonic()
        for use, facts in ending:
            day = f"{facts.ends:%Y-%m-%d}"
            if now >= facts.ends:
                log.error(
                    "certificate-expired use=%s on=%s: clients refuse this node; blocks are made all the same", use, day
                )
            else:
                log.warning("certificate-ends use=%s on=%s: %s", use, day, RENEWAL_ADVICE[use])

    def _configure(self) -> None:
        self._handed.hand(self.shown.identity, None)

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What tells that a file is another one; None if it is not there."""
        paths = (*self._files, self._files[1].with_name(self._files[1].name + NEXT))
        return tuple(stamp(path) for path in paths)


def open_gateway_certificate(config: Config, passphrase: str) -> GatewayCertificate | None:
    """What the configuration names; None if the gateway is plain, on loopback. Raises ConfigError:
    "gateway-not-closed", "operations-not-closed", "bad-gateway-certificate", "wrong-passphrase"."""
    require_closed(config)
    gateway = config.gateway
    if not gateway.certificate:
        return None
    return GatewayCertificate(config.path(gateway.certificate), config.path(gateway.key_file), passphrase)


def open_operators(config: Config, certificate: GatewayCertificate | None) -> OperatorsPort | None:
    """Who may come in at the operations port, which shows the gateway's certificate, also a renewed one; None if it is
    plain. Raises ConfigError("bad-ca")."""
    if certificate is None or not config.metrics.operators:
        return None
    shown = certificate
    operators = OperatorsPort(config.member, config.path(config.metrics.operators), shown.shown.identity)
    shown.on_change = lambda: operators.show(shown.shown.identity)
    return operators


def _key_of(facts: Facts, key_file: Path, passphrase: str) -> bytes:
    for path in (key_file, key_file.with_name(key_file.name + NEXT)):
        if path.exists():
            secret = unseal(path, KIND_TLS_KEY, passphrase)
            if public_bytes(load_private_key(secret).public_key()) == facts.public_key:
                return secret
    raise ConfigError("wrong-certificate", f"it does not belong to a key in {key_file}")
