"""What operators see of a running node: the control socket, the metrics, and the report that both are read from."""

import datetime
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from node.admission_metrics import AdmissionMetrics
from node.backup import Status
from node.consensus.diagnosis import Diagnosis
from node.control import ControlServer, Diagnose, Handlers, Links, LogLevel, MakeBackup
from node.diagnosis import CertificateEnd, Link, Report, Wait, unready
from node.driver import Driver
from node.errors import ConfigError
from node.limits import TICK_MS
from node.logs import set_level
from node.metrics import Metrics
from node.metrics_server import MetricsServer
from node.opening import Opened
from node.parts import Parts
from node.pki.trust import warns_from
from node.setup import VOTES_NAME

log = logging.getLogger("watt.node")

DAMAGED = "*.damaged-*"
"""What files are called that were set aside."""


class Watch:
    """Looks at the parts of a node; changes nothing but which links are cut, and what is logged.

    ``inbox``: how many messages of peers wait to be looked at.
    """

    def __init__(self, opened: Opened, parts: Parts, driver: Driver, inbox: Callable[[], int]) -> None:
        self._config = config = opened.config
        self._genesis = opened.identity.genesis
        self._certificate = opened.certificate
        self._operators = opened.operators
        self._parts = parts
        self._driver = driver
        self._inbox = inbox
        self._data = config.path(config.data_dir)
        self._began = self._stored = time.monotonic()
        self._has_stored = False
        self._version = version("wattledger")
        self.metrics = Metrics(self.report)
        refused, waiting = lambda: parts.admission.refused, parts.pool.waiting_of
        self.metrics.registry.register(AdmissionMetrics(refused, waiting, lambda: driver.forwards_dropped))
        handlers: Handlers = {
            Diagnose: lambda _: self.report(),
            Links: self._cut,
            LogLevel: self._log_level,
            MakeBackup: self._back_up,
        }
        self._control = ControlServer(self._data, handlers)
        listen, port = config.metrics.listen, opened.operators
        self._metrics_server = MetricsServer(listen, self.metrics.registry, self.unready, port) if listen else None

    async def start(self) -> None:
        """Open the socket and, if it is configured, the metrics' port. Raises ConfigError("port-in-use")."""
        try:
            await self._control.start()
        except ConfigError as error:  # the node is as good without it
            log.warning("no-control-socket code=%s: %s", error.code, error.message)
        if self._metrics_server is not None:
            await self._metrics_server.start()

    async def stop(self) -> None:
        """Close both."""
        await self._control.stop()
        if self._metrics_server is not None:
            await self._metrics_server.stop()

    def stored(self, transactions: int) -> None:
        """A block was stored."""
        now = time.monotonic()
        self.metrics.stored(transactions, now - self._stored if self._has_stored else None)
        self._stored, self._has_stored = now, True

    def report(self) -> Report:
        """Where the node stands now."""
        now = time.monotonic()
        driver, parts = self._driver, self._parts
        status, epoch, core, views = driver.status, driver.epoch, driver.diagnosis(), driver.views
        names = tuple(member.name for member in epoch.members)
        return Report(
            member=self._config.member,
            version=self._version,
            network=self._genesis.name,
            chain=self._genesis.chain.hex(),
            members=names,
            now_ms=time.time_ns() // 1_000_000,
            up_ms=_ms(now - self._began),
            epoch=epoch.number,
            height=status.height,
            best_peer_height=status.best_peer_height,
            quiet_ms=_ms(now - self._stored),
            view=status.view,
            active=status.active,
            primary=names[status.primary],
            in_flight=status.in_flight,
            passive_because=core.passive_because or "",
            barrier=core.barrier,
            waits=_waits(core, names),
            mempool_transactions=status.mempool_transactions,
            mempool_bytes=status.mempool_bytes,
            mempool_limit=self._config.limits.mempool_transactions,
            unverified_transactions=status.unverified_transactions,
            verify_queue_chunks=parts.verifier.waiting_chunks,
            inbox_messages=self._inbox(),
            consensus_items=status.consensus_items,
            vote_log_bytes=status.vote_log_bytes,
            disk_free_bytes=shutil.disk_usage(self._data).free,
            links=self._links(now),
            recent_view_changes=tuple(views.recent),
            view_changes=dict(views.counts),
            bad_messages=self._bad_messages(),
            evidence=parts.evidence.members(),
            damaged=damaged_files(self._data),
            upgrade=parts.upgrades.report(),
            snapshot_height=next((manifest.height for manifest in parts.shelf.kept), None),
            certificates=self._certificates(),
            stale_lists=()
            if self._operators is None
            else tuple(self._operators.trust.stale(datetime.datetime.now(datetime.UTC))),
        )

    def unready(self) -> tuple[str, ...]:
        """Why clients should ask another node now; none if they may ask this one."""
        return unready(self.report())

    def _certificates(self) -> tuple[CertificateEnd, ...]:
        if self._certificate is None:
            return ()
        return tuple(
            [
                CertificateEnd(use, _ms(facts.ends.timestamp()), _ms(warns_from(facts).timestamp()))
                for use, facts in self._certificate.ends()
            ]
        )

    def _links(self, now: float) -> tuple[Link, ...]:
        cut, clocks, scale = self._parts.transport.control, self._driver.clocks, self._genesis.time_scale
        return tuple(
            Link(
                peer=state.peer,
                address=state.address,
                up=state.up,
                for_ms=_ms(now - state.since),
                why=state.why,
                is_heard=state.is_heard,
                cut_to=state.peer in cut.drop_to,
                cut_from=state.peer in cut.drop_from,
                waiting_messages=state.waiting_messages,
                waiting_bytes=state.waiting_bytes,
                dropped=state.dropped,
                clock_ms=None if (ahead := clocks.get(state.peer)) is None else ahead * 1000 // scale,
            )
            for state in self._parts.transport.links()
        )

    def _bad_messages(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for (peer, code), count in [*self._driver.bad_messages.items(), *self._parts.transport.bad_frames.items()]:
            codes = found.setdefault(peer, {})
            codes[code] = codes.get(code, 0) + count
        return found

    def _cut(self, request: Links) -> dict[str, list[str]]:
        control = self._parts.transport.control
        control.cut([link.peer for link in self._parts.transport.links()], request.drop_to, request.drop_from)
        return {"drop_to": sorted(control.drop_to), "drop_from": sorted(control.drop_from)}

    def _log_level(self, request: LogLevel) -> dict[str, str]:
        levels = set_level(request.room, request.level)
        if request.level:
            log.warning("log-level room=%s level=%s: as the operator wants", request.room or "all", request.level)
        return levels

    def _back_up(self, request: MakeBackup) -> Status:
        return self._parts.backups.start(Path(request.directory)) if request.directory else self._parts.backups.status()


def _waits(core: Diagnosis, names: Sequence[str]) -> tuple[Wait, ...]:
    """What the core waits for, with the members' names."""
    return tuple(
        Wait(
            what=wait.what,
            members=tuple(names[member] for member in wait.members),
            have=tuple(names[member] for member in wait.have),
            for_ms=wait.ticks * TICK_MS,
        )
        for wait in core.waits
    )


def damaged_files(data: Path) -> tuple[str, ...]:
    """Files in a data directory that a start set aside as damaged."""
    found = [*data.glob(DAMAGED), *(data / VOTES_NAME).glob(DAMAGED)]
    return tuple(sorted(str(path.relative_to(data)) for path in found))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
