"""A node's metrics for Prometheus: what ``node/diagnosis.py`` reports, read when somebody scrapes, and a few counters
and distributions that only the moment knows.

A registry of its own: nothing of the process's default registry is shown or touched. Labels are names of members, codes
and causes, all from lists of ours, so the number of series is bounded by the number of members.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.diagnosis import Report, member_links

_BLOCK_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SYNC_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)


class Metrics:
    """``report``: what the node says of itself now."""

    def __init__(self, report: Callable[[], Report]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._blocks = Counter("watt_blocks", "Blocks stored since the start", registry=self.registry)
        self._transactions = Counter(
            "watt_transactions", "Transactions in blocks stored since the start", registry=self.registry
        )
        self._block_s = Histogram(
            "watt_block_seconds",
            "From one stored block to the next",
            buckets=_BLOCK_BUCKETS,
            registry=self.registry,
        )
        self._sync_s = Histogram(
            "watt_vote_log_sync_seconds",
            "How long the disk took to keep what was written to the vote log",
            buckets=_SYNC_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(_Reported(report))
        ProcessCollector(registry=self.registry)

    def stored(self, transactions: int, since_last_s: float | None) -> None:
        """A block was stored; ``since_last_s``: after the one before it, None for the first of this process."""
        self._blocks.inc()
        self._transactions.inc(transactions)
        if since_last_s is not None:
            self._block_s.observe(since_last_s)

    def sync(self) -> AbstractContextManager[object]:
        """Around each sync of the vote log."""
        return self._sync_s.time()


class _Reported(Collector):
    """One report, as metrics."""

    def __init__(self, report: Callable[[], Report]) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        report = self._report()
        yield from _where_it_stands(report)
        yield from _queues(report)
        yield from _peers(report)
        changes = CounterMetricFamily("watt_view_changes", "View changes by cause", labels=["cause"])
        for cause, count in sorted(report.view_changes.items()):
            changes.add_metric([cause], count)
        yield changes


def _where_it_stands(report: Report) -> Iterator[Metric]:
    yield _gauge("watt_height", "The newest stored block", report.height)
    yield _gauge("watt_best_peer_height", "The highest block that any peer claims, unproven", report.best_peer_height)
    yield _gauge("watt_head_age_seconds", "Since a block was last stored, or since the start", report.quiet_ms / 1000)
    yield _gauge("watt_epoch", "The configuration epoch", report.epoch)
    yield _gauge("watt_view", "The view that is worked in, or waited for", report.view)
    yield _gauge("watt_view_active", "1 in a view that has begun, 0 between views", report.active)
    yield _gauge("watt_is_primary", "1 if this node proposes", report.primary == report.member)
    yield _gauge("watt_passive", "1 if this node follows and does not vote", bool(report.passive_because))
    yield _gauge("watt_evidence", "Members that this node holds evidence against", len(report.evidence))
    yield _gauge("watt_damaged_files", "Files that were set aside as damaged", len(report.damaged))
    lacks = report.upgrade is not None and not report.upgrade.installed
    yield _gauge("watt_upgrade_missing", "1 if the upgrade that is scheduled is not installed here", lacks)
    if report.certificates:
        left = GaugeMetricFamily(
            "watt_certificate_seconds", "Until a certificate ends; below 0: it has", labels=["use"]
        )
        for certificate in report.certificates:
            left.add_metric([certificate.use], (certificate.ends_ms - report.now_ms) / 1000)
        yield left
    if report.snapshot_height is not None:
        yield _gauge("watt_snapshot_height", "The newest snapshot for those who join", report.snapshot_height)
        yield _gauge("watt_snapshot_age_blocks", "Its age", report.height - report.snapshot_height)


def _queues(report: Report) -> Iterator[Metric]:
    yield _gauge("watt_mempool_transactions", "Transactions that wait for a block", report.mempool_transactions)
    yield _gauge("watt_mempool_bytes", "Their bytes", report.mempool_bytes)
    yield _gauge(
        "watt_unverified_transactions", "Forwarded ones that wait for their signatures", report.unverified_transactions
    )
    yield _gauge("watt_verify_queue_chunks", "Chunks of signatures to be checked", report.verify_queue_chunks)
    yield _gauge("watt_inbox_messages", "Messages of peers to be looked at", report.inbox_messages)
    yield _gauge("watt_in_flight_blocks", "Proposals of this primary that are not stored", report.in_flight)
    yield _gauge("watt_consensus_items", "What the consensus core holds in memory", report.consensus_items)
    yield _gauge("watt_vote_log_bytes", "The length of the vote log", report.vote_log_bytes)
    yield _gauge("watt_disk_free_bytes", "Room left where the data lie", report.disk_free_bytes)


def _peers(report: Report) -> Iterator[Metric]:
    up = GaugeMetricFamily("watt_link_up", "1 if this node's link has reached the peer", labels=["peer"])
    heard = GaugeMetricFamily("watt_link_heard", "1 if the peer's link has reached this node", labels=["peer"])
    waiting = GaugeMetricFamily("watt_outbox_messages", "Messages that wait to be sent", labels=["peer"])
    size = GaugeMetricFamily("watt_outbox_bytes", "Their bytes", labels=["peer"])
    dropped = CounterMetricFamily("watt_outbox_dropped", "Messages that never left", labels=["peer"])
    members = member_links(report)
    for link in members:  # nobody need be called for the link of a member that was removed
        up.add_metric([link.peer], link.up)
        heard.add_metric([link.peer], link.is_heard)
    for link in report.links:
        waiting.add_metric([link.peer], link.waiting_messages)
        size.add_metric([link.peer], link.waiting_bytes)
        dropped.add_metric([link.peer], link.dropped)
    bad = CounterMetricFamily(
        "watt_bad_messages", "Messages of peers that were refused, by code", labels=["peer", "code"]
    )
    for peer, codes in sorted(report.bad_messages.items()):
        for code, count in sorted(codes.items()):
            bad.add_metric([peer, code], count)
    yield from (up, heard, waiting, size, dropped, bad)
    yield _gauge("watt_peers_up", "Members that this node's own links have reached", sum(x.up for x in members))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
