"""Any course of votes, upgrades, failures and cancellations: replicas that restart anywhere, and an audit, agree."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaincode.ballot import NOTICE
from node.audit import verify_chain
from node.model.block import NULL_BATCH
from node.upgrades.library import Library
from tests import bundles
from tests.test_upgrades import GENESIS, Town, registry

BUNDLES: dict[str, Callable[[Path], Path]] = {
    "good": bundles.write,
    "failing": bundles.failing,
    "strict": lambda place: bundles.write(
        place,
        upgrade__json='{"name": "strict", "version": "3", "contracts": ["tally"]}',
        upgrade__py=bundles.TALLY.replace("(Tally(), Echo())", "(Tally(),)").replace(
            "(total, 1)", "(total if isinstance(total, int) else total[0], 7)"
        ),
        limits__py=bundles.LIMITS.replace("100", "50"),
    ),
}
STEPS = st.one_of(
    st.tuples(st.just("decide"), st.sampled_from(sorted(BUNDLES))),
    st.tuples(st.just("cancel"), st.just("")),
    st.tuples(st.just("add"), st.sampled_from(["7", "60", "500"])),
    st.tuples(st.just("wait"), st.sampled_from(["1", str(NOTICE)])),
    st.tuples(st.just("restart"), st.just("")),
)


class Pair:
    """A chain, and a replica that is opened anew before every block of it that follows a restart."""

    def __init__(self, library: Library, digests: dict[str, bytes]) -> None:
        self.one, self.two = Town(library), Town(library)
        self.digests = digests

    def take(self, body: bytes) -> None:
        first, second = self.one.take(body), self.two.take(body)
        assert first.block_hash == second.block_hash and first.receipts == second.receipts

    def call(self, admin: str, contract: str, method: str, **args: object) -> None:
        self.take(self.one.body((admin, contract, method, args)))

    def vote(self) -> None:
        """Two more admins approve what is open."""
        for row in self.one.ask("proposals"):
            for admin in ("bob", "cyd"):
                self.call(admin, "motions", "approve", proposal=row[0], digest=row[1])

    def step(self, what: str, how: str) -> None:
        if what == "decide":
            upgrade = {"name": how, "digest": self.digests[how], "first_height": self.one.height + 4 + NOTICE}
            self.call("ada", "motions", "propose_upgrade", **upgrade)
            self.vote()
        elif what == "cancel":
            for row in self.one.ask("scheduled"):
                self.call("ada", "motions", "cancel_upgrade", digest=row[3][1])
                self.vote()
        elif what == "add":
            self.call("dan", "tally", "add", name="a", amount=int(how))
        elif what == "wait":
            for _ in range(int(how)):
                self.take(NULL_BATCH)
        else:
            self.two.reopen()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Library, dict[str, bytes]]:
    place = tmp_path_factory.mktemp("bundles")
    library = Library(place / "upgrades")
    return library, {name: library.install(make(place / name)).digest for name, make in BUNDLES.items()}


@given(steps=st.lists(STEPS, max_size=14))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_agree_whatever_is_voted(installed: tuple[Library, dict[str, bytes]], steps: list[tuple[str, str]]) -> None:
    library, digests = installed
    pair = Pair(library, digests)
    pair.call("dan", "tally", "add", name="a", amount=1)
    for what, how in steps:
        pair.step(what, how)
    assert pair.one.ask("upgrades") == pair.two.ask("upgrades")
    active = {row[0] for row in pair.one.ask("upgrades")}
    assert "failing" not in active
    for row in pair.one.ask("history"):
        assert row[5] in ("ok", "canceled", "scheduled", "not-so"), row
    report = verify_chain(pair.one.store, GENESIS, registry(library))
    assert report.root == pair.two.ledger.head.state_root
