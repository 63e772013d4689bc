"""What a node's report means: the findings name what is wrong, on whom it depends, and since when."""

import msgspec
import pytest

from node.consensus import diagnosis as core
from node.diagnosis import (
    BUSY_QUIET_MS,
    NOTE,
    PROBLEM,
    QUIET_MS,
    STALLED,
    WAITS,
    Finding,
    Link,
    Report,
    Wait,
    findings,
    is_stalled,
    seconds,
)
from node.viewlog import ViewChanged

MEMBERS = ("north", "south", "west", "east")
LINKS = tuple(Link(name, "10.0.0.1:7501", True, 60_000, "", True, False, False, 0, 0, 0) for name in MEMBERS[1:])
HEALTHY = Report(
    member="north",
    version="1",
    network="street",
    chain="00" * 32,
    members=MEMBERS,
    now_ms=1_000_000,
    up_ms=60_000,
    epoch=0,
    height=12,
    best_peer_height=12,
    quiet_ms=400,
    view=0,
    active=True,
    primary="north",
    in_flight=0,
    mempool_transactions=0,
    mempool_bytes=0,
    mempool_limit=1000,
    unverified_transactions=0,
    verify_queue_chunks=0,
    inbox_messages=0,
    consensus_items=3,
    vote_log_bytes=5000,
    disk_free_bytes=10**11,
    links=LINKS,
    recent_view_changes=(),
    view_changes={},
    bad_messages={},
    evidence=(),
    damaged=(),
)


def found(**changes: object) -> list[Finding]:
    return findings(msgspec.structs.replace(HEALTHY, **changes))


def the(code: str, **changes: object) -> Finding:
    """The one finding with that code."""
    (finding,) = [finding for finding in found(**changes) if finding.code == code]
    return finding


def down(*names: str, why: str = "") -> tuple[Link, ...]:
    return tuple(
        msgspec.structs.replace(link, up=False, for_ms=42_000, why=why) if link.peer in names else link
        for link in LINKS
    )


def test_a_healthy_node_has_nothing_to_say() -> None:
    assert found() == []
    assert not is_stalled(HEALTHY)


def test_one_dead_peer_is_a_problem_and_no_stall() -> None:
    (finding,) = found(links=down("west", why="the stream ended"))
    assert (finding.level, finding.code, finding.for_ms) == (PROBLEM, "link-down", 42_000)
    assert "west" in finding.text and "42 s" in finding.text and "the stream ended" in finding.text


def test_without_a_quorum_those_out_of_reach_are_named() -> None:
    finding = the("no-quorum", links=down("west", "east"), quiet_ms=QUIET_MS + 1)
    assert finding.level == STALLED and "2 of 4" in finding.text and "a quorum is 3" in finding.text
    assert "west, east" in finding.text and finding.for_ms == QUIET_MS + 1


def test_links_that_the_operator_cut_count_as_gone() -> None:
    cut = tuple(msgspec.structs.replace(link, cut_to=link.peer != "east", cut_from=True) for link in LINKS)
    assert the("no-quorum", links=cut, quiet_ms=QUIET_MS + 1).text.endswith("out of reach: south, west")
    assert [f.text.split(" the link ")[1].split(":")[0] for f in found(links=cut) if f.code == "link-cut"] == [
        "to and from south",
        "to and from west",
        "from east",
    ]


def test_a_stall_with_a_quorum_says_what_the_core_waits_for() -> None:
    waits = (Wait(core.COMMITS, ("south", "west"), ("north", "east"), 11_000), Wait(core.WORK, (), (), 0))
    lines = found(quiet_ms=QUIET_MS + 1, active=False, view=3, primary="east", waits=waits, links=down("west"))
    assert [line.code for line in lines] == ["no-progress", "waits-commits", "link-down"]
    assert "waits for view 3 (primary east)" in lines[0].text
    assert lines[1].text == (
        "it waits for votes to commit block 13, for 11 s; 2 of 3 are there; missing: south, west (no link for 42 s)"
    )


def test_every_wait_of_the_core_has_words() -> None:
    codes = {value for name, value in vars(core).items() if name.isupper()}
    assert codes == set(WAITS)
    for what in codes - {core.WORK}:
        wait = Wait(what, ("south", "north"), (), 100)
        assert "it waits for" in the(f"waits-{what}", waits=(wait,), quiet_ms=QUIET_MS + 1).text


@pytest.mark.parametrize(
    "busy", [{"active": False}, {"mempool_transactions": 1}, {"in_flight": 1}, {"best_peer_height": 13}]
)
def test_with_work_a_stall_is_told_sooner(busy: dict[str, object]) -> None:
    assert the("no-progress", quiet_ms=BUSY_QUIET_MS + 1, **busy).level == STALLED
    assert [finding.level for finding in found(quiet_ms=BUSY_QUIET_MS + 1)] == []


@pytest.mark.parametrize(
    ("because", "level", "word"),
    [
        ("recalling", PROBLEM, "asks the others"),
        ("memory-lost", PROBLEM, "vote log"),
        ("vote-forgotten", PROBLEM, "another process"),
        ("observer", NOTE, "no member"),
    ],
)
def test_a_passive_node_says_why_and_until_when(because: str, level: str, word: str) -> None:
    finding = the("passive", passive_because=because, barrier=30)
    assert finding.level == level and word in finding.text and "block 30" in finding.text


def test_clocks_are_compared() -> None:
    one = tuple(msgspec.structs.replace(link, clock_ms=-9_000 if link.peer == "west" else 100) for link in LINKS)
    assert the("clock", links=one).text.endswith("west is 9 s behind")
    every = tuple(msgspec.structs.replace(link, clock_ms=-9_000) for link in LINKS)
    assert "this node's own clock" in the("clock", links=every).text


def test_a_node_that_recalls_its_votes_does_not_name_itself() -> None:
    asked = Wait(core.RECOLLECTIONS, ("north", "west"), ("south",), 4_000)
    assert the("waits-recollections", waits=(asked,), quiet_ms=QUIET_MS + 1).text.endswith("missing: west")


def test_nobody_waits_for_who_is_no_member() -> None:
    """A removed member's link may stay down for ever, and one to be added is no member yet."""
    gone = msgspec.structs.replace(LINKS[0], peer="gone", up=False, is_heard=False)
    (idle,) = found(links=(*LINKS, gone))
    assert (idle.level, idle.code) == (NOTE, "link-idle") and "gone" in idle.text
    codes = {line.code for line in found(links=(*down("west"), gone), quiet_ms=QUIET_MS + 1)}
    assert codes == {"no-progress", "link-down", "link-idle"}


def test_disk_files_and_peers() -> None:
    assert the("disk-low", disk_free_bytes=500_000_000).level == PROBLEM
    assert the("disk-low", disk_free_bytes=1_000_000).level == STALLED
    assert "votes.log.damaged-1" in the("damaged-file", damaged=("votes/votes.log.damaged-1",)).text
    assert the("mempool-full", mempool_transactions=1000).level == PROBLEM
    assert "west" in the("evidence", evidence=("west",)).text
    assert "bad-signature 40" in the("bad-messages", bad_messages={"west": {"bad-signature": 40}}).text
    assert found(bad_messages={"west": {"malformed": 1}}) == []
    # Correct members answer too late now and then, and send what belongs to an epoch that is over.
    assert found(bad_messages={"west": {"not-asked": 1000, "wrong-epoch": 20, "malformed": 15}}) == []
    silent = tuple(msgspec.structs.replace(link, is_heard=link.peer != "west") for link in LINKS)
    assert the("link-one-way", links=silent).text.startswith("west")
    assert the("behind", best_peer_height=900).level == NOTE


def test_view_changes_are_told_with_their_cause() -> None:
    change = ViewChanged(0, 1, "south", "silent", 1200, 990_000)
    assert the("view-change", recent_view_changes=(change,)).text == (
        "view 0 was left 10 s ago (silent); after 1.2 s view 1 of south began"
    )
    assert the("many-view-changes", recent_view_changes=(change,) * 5).text.endswith("10 minutes: silent")
    assert found(recent_view_changes=(change,), now_ms=10**9) == []


def test_the_gravest_comes_first_and_a_report_survives_the_wire() -> None:
    report = msgspec.structs.replace(
        HEALTHY, links=down("west", "east"), quiet_ms=QUIET_MS + 1, disk_free_bytes=500_000_000
    )
    assert [finding.level for finding in findings(report)] == [STALLED, PROBLEM, PROBLEM, PROBLEM]
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0 s"), (340, "0.3 s"), (17_900, "17 s"), (660_000, "11 min"), (40_000_000, "11 h")]
)
def test_durations_for_people(ms: int, text: str) -> None:
    assert seconds(ms) == text


def test_who_waits_for_blocks_that_were_erased_is_told_to_join_by_a_snapshot() -> None:
    waits = (Wait(core.BLOCKS, ("south",), (), 11_000),)
    assert "watt node join" in the("waits-blocks", quiet_ms=QUIET_MS + 1, waits=waits, best_peer_height=9_000).text
    assert "watt node join" not in the("waits-blocks", quiet_ms=QUIET_MS + 1, waits=waits, best_peer_height=90).text
