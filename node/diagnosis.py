"""What a node says of itself (``Report``), and what an operator makes of it (``findings``).

The report is data: it goes over the control socket as JSON, and the metrics are read from it. The findings are a pure
function of it, so that they are the same wherever they are shown. Every finding names what is wrong, on whom it
depends, since when, and what to do.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from node.consensus import diagnosis as core
from node.consensus.quorum import quorum
from node.limits import FRESH_SECONDS, HEARTBEAT_TICKS, SNAPSHOT_BLOCKS, TICK_MS
from node.quarantine import COUNTED
from node.viewlog import ViewChanged

STALLED: Final = "stalled"
PROBLEM: Final = "problem"
NOTE: Final = "note"

QUIET_MS: Final = 2 * HEARTBEAT_TICKS * TICK_MS
"""A network without any work stores a block every HEARTBEAT_TICKS; twice that without one is a stall."""
BUSY_QUIET_MS: Final = 3_000
"""With work waiting, a block comes within a second."""
DISK_ADVICE: Final = "a node that cannot write stops; make room, then start it again: nothing is lost"
RENEWAL_ADVICE: Final = {
    "gateway": "`watt ca renew`, then `watt node install-certificate`; blocks are made all the same",
    "ca": "the root signs that CA anew (`watt ca member`, `watt ca accept`), then `watt ca renew` and "
    "`watt node install-certificate` for what is below it; blocks are made all the same",
}
"""By what the certificate is for."""
OWNERS: Final = {"gateway": "the gateway's certificate", "ca": "the certificate of the gateway's CA"}
LOW_DISK_BYTES: Final = 1024 * 1024 * 1024
NO_DISK_BYTES: Final = 64 * 1024 * 1024
MANY_BAD_MESSAGES: Final = 16
MANY_VIEW_CHANGES: Final = 5
RECENT_MS: Final = 10 * 60 * 1000
BEHIND_BLOCKS: Final = 32


class Link(msgspec.Struct, frozen=True):
    """The links with ``peer``. ``up``: this node's own has reached it, or not, for ``for_ms``; ``why`` it went down, if
    it ever was up; ``is_heard``: the peer's has reached this node. ``cut_to``, ``cut_from``: by the operator.
    ``clock_ms``: by how much the peer's clock was ahead at its last fresh proposal, None if it made none."""

    peer: str
    address: str
    up: bool
    for_ms: int
    why: str
    is_heard: bool
    cut_to: bool
    cut_from: bool
    waiting_messages: int
    waiting_bytes: int
    dropped: int
    clock_ms: int | None = None


class Wait(msgspec.Struct, frozen=True):
    """What the consensus waits for (a code of ``node/consensus/diagnosis.py``), on whom, and who has done it already;
    ``for_ms``: so long."""

    what: str
    members: tuple[str, ...]
    have: tuple[str, ...]
    for_ms: int


class CertificateEnd(msgspec.Struct, frozen=True):
    """A certificate of this node that ends at ``ends_ms``, and of which that is to be said from ``warns_ms`` on; both
    in milliseconds since 1970, UTC. ``use``: what it is for."""

    use: str
    ends_ms: int
    warns_ms: int


class Upgrade(msgspec.Struct, frozen=True):
    """The upgrade of contracts that is scheduled; ``digest``: in hex; ``installed``: whether its bundle is here."""

    name: str
    digest: str
    first_height: int
    installed: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node stands. Durations are of this process; ``now_ms`` and ``began_ms`` are UTC."""

    member: str
    version: str
    network: str
    chain: str
    members: tuple[str, ...]
    now_ms: int
    up_ms: int
    epoch: int
    height: int
    best_peer_height: int
    quiet_ms: int
    """Since a block was last stored, or since the start."""
    view: int
    active: bool
    primary: str
    in_flight: int
    passive_because: str = ""
    barrier: int = 0
    waits: tuple[Wait, ...] = ()
    mempool_transactions: int
    mempool_bytes: int
    mempool_limit: int
    unverified_transactions: int
    verify_queue_chunks: int
    inbox_messages: int
    consensus_items: int
    vote_log_bytes: int
    disk_free_bytes: int
    links: tuple[Link, ...]
    recent_view_changes: tuple[ViewChanged, ...]
    view_changes: dict[str, int]
    """By cause, since the start."""
    bad_messages: dict[str, dict[str, int]]
    """Peer to code to how many were refused, since the start; not all are a fault (``node/quarantine.py``)."""
    evidence: tuple[str, ...]
    """The members against whom there is proof."""
    damaged: tuple[str, ...]
    """Files that were set aside."""
    snapshot_height: int | None = None
    certificates: tuple[CertificateEnd, ...] = ()
    stale_lists: tuple[str, ...] = ()
    """The organisations whose revocation lists, which operators are checked by, are past their time."""
    upgrade: Upgrade | None = None


class Finding(msgspec.Struct, frozen=True):
    """``level``: STALLED (no blocks, or no votes), PROBLEM (somebody should do something), NOTE. ``for_ms``: since how
    long, if that is known."""

    level: str
    code: str
    text: str
    for_ms: int | None = None


def findings(report: Report) -> list[Finding]:
    """All that there is to say, the gravest first."""
    found = [*_voting(report), *_progress(report), *_links(report), *_clocks(report), *_disk(report), *_peers(report)]
    found += [*_certificates(report), *_upgrade(report)]
    return sorted(found, key=lambda finding: (STALLED, PROBLEM, NOTE).index(finding.level))


def member_links(report: Report) -> tuple[Link, ...]:
    """The links with the other members in force. There are more: a member that was removed may still need the block
    that says so, and one that is to be added follows already; nobody waits for either."""
    return tuple(link for link in report.links if link.peer in report.members)


def out_of_reach(report: Report) -> list[str]:
    """The members that nothing of this node reaches."""
    return [link.peer for link in member_links(report) if not link.up or link.cut_to]


def unready(report: Report) -> tuple[str, ...]:
    """Why clients should ask another node, as codes of findings: nothing comes, or old news; none if it is well."""
    return tuple([finding.code for finding in findings(report) if finding.level == STALLED or finding.code == "behind"])


def is_stalled(report: Report) -> bool:
    """Whether a block should have come and did not."""
    busy = (
        report.mempool_transactions > 0
        or report.in_flight > 0
        or not report.active
        or report.best_peer_height > report.height
    )
    return report.quiet_ms > (BUSY_QUIET_MS if busy else QUIET_MS)


WAITS: Final = {
    core.WORK: "something to order",
    core.PROPOSAL: "a proposal for block {height}",
    core.BATCH: "the batch of block {height}, which others have voted for",
    core.VALIDATION: "its own check of the batch of block {height}",
    core.PREPARES: "votes to prepare block {height}",
    core.EXECUTION: "its own execution of block {height}",
    core.COMMITS: "votes to commit block {height}",
    core.STORING: "its own disk to keep block {height}",
    core.BLOCKS: "the blocks from {height} on",
    core.VIEW_CHANGES: "others to ask for view {view}",
    core.NEW_VIEW: "the beginning of view {view}, for which a quorum has asked",
    core.RECOLLECTIONS: "what others hold of its own votes",
    core.BARRIER: "block {barrier}, from which on it may vote",
}
_COUNTED: Final = (core.PREPARES, core.COMMITS, core.VIEW_CHANGES)
PASSIVE: Final = {
    "recalling": "it asks the others what it has voted before it votes again",
    "memory-lost": "its vote log was lost or damaged, so it may have voted for what it does not know any more",
    "vote-forgotten": "others hold votes of its key that its vote log does not have: its disk was restored from an old "
    "copy, or another process uses its key",
    "observer": "it is no member in this epoch",
}


def _voting(report: Report) -> Iterator[Finding]:
    because = report.passive_because
    if not because:
        return
    words = PASSIVE.get(because, because)
    until = f"; it votes again when block {report.barrier} is stored here" if report.barrier > report.height else ""
    level = NOTE if because == "observer" else PROBLEM
    yield Finding(level, "passive", f"this node follows and does not vote ({because}): {words}{until}")


def _progress(report: Report) -> Iterator[Finding]:
    if not is_stalled(report):
        return
    needed = quorum(len(report.members))
    gone = out_of_reach(report)
    reached = len(report.members) - len(gone)
    if reached < needed:
        text = (
            f"no block for {seconds(report.quiet_ms)}: this node reaches {reached} of {len(report.members)} members, "
            f"itself included, and a quorum is {needed}; out of reach: {', '.join(gone)}"
        )
        yield Finding(STALLED, "no-quorum", text, report.quiet_ms)
    else:
        state = "works in" if report.active else "waits for"
        text = (
            f"no block after {report.height} for {seconds(report.quiet_ms)}; this node {state} view {report.view} "
            f"(primary {report.primary}); {report.mempool_transactions} transactions wait"
        )
        yield Finding(STALLED, "no-progress", text, report.quiet_ms)
    for wait in report.waits:
        if wait.what != core.WORK:
            yield Finding(STALLED, f"waits-{wait.what}", _waiting(wait, report, needed), wait.for_ms)


def _waiting(wait: Wait, report: Report, needed: int) -> str:
    words = WAITS[wait.what].format(height=report.height + 1, view=report.view, barrier=report.barrier)
    there = f"; {len(wait.have)} of {needed} are there" if wait.what in _COUNTED else ""
    # What this node holds of its own votes, it does not need to be told.
    lacking = [member for member in wait.members if wait.what != core.RECOLLECTIONS or member != report.member]
    on = f"; missing: {', '.join(_named(member, report) for member in lacking)}" if lacking else ""
    if wait.what == core.BLOCKS and report.best_peer_height > report.height + SNAPSHOT_BLOCKS:
        on += "; if readings in them were erased, nobody gives them out: join by a snapshot (watt node join)"
    return f"it waits for {words}, for {seconds(wait.for_ms)}{there}{on}"


def _named(member: str, report: Report) -> str:
    """The member, and what is known to keep it from answering."""
    if member == report.member:
        return "this node itself"
    for link in report.links:
        if link.peer == member:
            if link.cut_to or link.cut_from:
                return f"{member} (its link is cut here)"
            if not link.up:
                return f"{member} (no link for {seconds(link.for_ms)})"
    return member


def _links(report: Report) -> Iterator[Finding]:
    members = set(report.members)
    for link in report.links:
        if link.cut_to or link.cut_from:
            ways = " and ".join(word for cut, word in ((link.cut_to, "to"), (link.cut_from, "from")) if cut)
            text = f"the operator has cut the link {ways} {link.peer}: `watt testnet heal` or a restart joins it again"
            yield Finding(PROBLEM, "link-cut", text)
        elif link.peer not in members:
            if not link.up:
                yield Finding(NOTE, "link-idle", f"no link to {link.peer}, which is no member now: nobody waits for it")
        elif not link.up:
            why = link.why or "it was not reached since the start"
            text = f"no link to {link.peer} at {link.address} for {seconds(link.for_ms)}: {why}"
            yield Finding(PROBLEM, "link-down", text, link.for_ms)
        elif not link.is_heard:
            text = f"{link.peer} is reached, but its own link does not come in: look at `peer.listen` and its addresses"
            yield Finding(PROBLEM, "link-one-way", text)
    ahead = report.best_peer_height - report.height
    if ahead > BEHIND_BLOCKS:
        yield Finding(NOTE, "behind", f"{ahead} blocks behind what the others claim; it asks them for blocks")


def _clocks(report: Report) -> Iterator[Finding]:
    off = {link.peer: link.clock_ms for link in report.links if link.clock_ms is not None}
    far = {peer: ms for peer, ms in off.items() if abs(ms) > FRESH_SECONDS * 1000}
    if not far:
        return
    text = "; ".join(f"{peer} is {seconds(abs(ms))} {'ahead' if ms > 0 else 'behind'}" for peer, ms in far.items())
    mine = ": this node's own clock seems to be wrong" if len(far) > 1 and len(far) == len(off) else ""
    yield Finding(PROBLEM, "clock", f"clocks differ by more than {FRESH_SECONDS} s{mine}; {text}")


def _disk(report: Report) -> Iterator[Finding]:
    free = report.disk_free_bytes
    if free < LOW_DISK_BYTES:
        text = f"{megabytes(free)} are left on the data directory's disk: {DISK_ADVICE}"
        yield Finding(PROBLEM if free >= NO_DISK_BYTES else STALLED, "disk-low", text)
    if report.damaged:
        text = f"set aside as damaged: {', '.join(report.damaged)}; look at the disk, then delete them"
        yield Finding(PROBLEM, "damaged-file", text)
    if report.mempool_transactions >= report.mempool_limit:
        yield Finding(PROBLEM, "mempool-full", f"{report.mempool_transactions} transactions wait: no more are taken")


def _peers(report: Report) -> Iterator[Finding]:
    for peer in report.evidence:
        text = f"{peer} has signed what no correct member signs: `watt node verify --evidence` shows the proof"
        yield Finding(PROBLEM, "evidence", text)
    for peer, codes in sorted(report.bad_messages.items()):
        bad = {code: count for code, count in codes.items() if code in COUNTED}  # an answer may just come too late
        if sum(bad.values()) >= MANY_BAD_MESSAGES:
            listed = ", ".join(f"{code} {count}" for code, count in sorted(bad.items()))
            yield Finding(PROBLEM, "bad-messages", f"{peer} sends what no correct member sends: {listed}")
    recent = [change for change in report.recent_view_changes if report.now_ms - change.began_ms < RECENT_MS]
    if len(recent) >= MANY_VIEW_CHANGES:
        causes = sorted({change.cause for change in recent})
        text = f"{len(recent)} view changes within {RECENT_MS // 60_000} minutes: {', '.join(causes)}"
        yield Finding(PROBLEM, "many-view-changes", text)
    elif recent:
        last = recent[-1]
        text = (
            f"view {last.left} was left {seconds(report.now_ms - last.began_ms)} ago ({last.cause}); after "
            f"{seconds(last.took_ms)} view {last.view} of {last.primary} began"
        )
        yield Finding(NOTE, "view-change", text)


def _upgrade(report: Report) -> Iterator[Finding]:
    upgrade = report.upgrade
    if upgrade is None:
        return
    what = f"the contracts' upgrade {upgrade.name} becomes active in block {upgrade.first_height}"
    if upgrade.installed:
        yield Finding(NOTE, "upgrade-scheduled", f"{what}; it is installed here")
    else:
        left = upgrade.first_height - report.height - 1
        text = f"{what}, in {left} blocks, and this node stops before it: `watt node upgrade install` the bundle with "
        yield Finding(PROBLEM, "upgrade-missing", f"{text}digest {upgrade.digest}")


def _certificates(report: Report) -> Iterator[Finding]:
    for certificate in report.certificates:
        left_ms = certificate.ends_ms - report.now_ms
        if left_ms <= 0:
            gone = f"{OWNERS[certificate.use]} ended {_days(-left_ms)} ago: clients refuse this gateway"
            text = f"{gone}; {RENEWAL_ADVICE[certificate.use]}"
            yield Finding(PROBLEM, "certificate-expired", text, -left_ms)
        elif report.now_ms >= certificate.warns_ms:
            text = f"{OWNERS[certificate.use]} ends in {_days(left_ms)}: {RENEWAL_ADVICE[certificate.use]}"
            yield Finding(PROBLEM, "certificate-ends", text)
    if report.stale_lists:
        text = f"the revocation list of {', '.join(report.stale_lists)} is past its time: ask its CA for a new one"
        yield Finding(NOTE, "revocations-stale", text)


def seconds(ms: int) -> str:
    """``0.3 s``, ``17 s``, ``4 min``, ``3 h``."""
    if ms < 10_000:
        return f"{ms // 100 / 10:g} s"
    if ms < 600_000:
        return f"{ms // 1000} s"
    return f"{ms // 60_000} min" if ms < 36_000_000 else f"{ms // 3_600_000} h"


def _days(ms: int) -> str:
    days = ms // 86_400_000
    return f"{days} days" if days > 2 else seconds(ms)


def megabytes(count: int) -> str:
    """``312 MB``."""
    return f"{count // 1_000_000} MB"
