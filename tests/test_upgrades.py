"""Upgrades of contracts on a chain: at the height the code changes, everywhere alike or not at all."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaincode.ballot import MAX_AHEAD, NOTICE
from chaincode.contract import ContractError, Value
from chaincode.governance import Governance
from chaincode.motions import Motions
from chaincode.registry import Registry
from cli.informed import InformedClient
from node.audit import verify_chain
from node.errors import NodeFault, RefusedError
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.ledger.store import MemoryStore, Store
from node.light import LightChain
from node.model.block import NULL_BATCH, Batch, encode_batch
from node.model.genesis import dump_genesis
from node.model.transaction import sign_transaction
from node.upgrades import counted
from node.upgrades.library import CLIENT_ENV, Library, client_registry
from node.witness import proven_answer
from tests import bundles
from tests.bundles import Tally
from tests.ledger.epoch_chains import FOREVER, certify, key_of, make_genesis

GENESIS = make_genesis()


def registry(library: Library | None = None) -> Registry:
    return Registry([Governance(), Motions(), Tally()], None if library is None else library.find)


class Town:
    """A ledger with motions, what is installed beside it, and the admins' nonces."""

    def __init__(self, library: Library | None, store: Store | None = None, contracts: Registry | None = None) -> None:
        self.store: Store = store or MemoryStore()
        self.registry = contracts or registry(library)
        self.reopen()
        self.nonces: dict[str, int] = {}

    def reopen(self) -> None:
        """What a restart leaves."""
        self.ledger = Ledger.open(self.store, GENESIS, self.registry)
        self.executor = Executor(self.ledger, self.registry, GENESIS)

    @property
    def height(self) -> int:
        return self.ledger.head.height

    def body(self, *calls: tuple[str, str, str, dict[str, Any]]) -> bytes:
        raws = []
        for admin, contract, method, args in calls:
            self.nonces[admin] = nonce = self.nonces.get(admin, 0) + 1
            raws.append(
                sign_transaction(key_of(f"admin of {admin}"), GENESIS.chain, nonce, contract, method, args, FOREVER).raw
            )
        return encode_batch(Batch(GENESIS.chain, 0, 0, self.ledger.head.time + 1, tuple(raws)))

    def take(self, body: bytes) -> Execution:
        execution = self.executor.execute(self.height + 1, body)
        self.ledger.commit(execution, certify(execution, self.ledger.epoch_at(execution.block.header.height)))
        return execution

    def add(self, *calls: tuple[str, str, str, dict[str, Any]]) -> list[tuple[str, Value]]:
        """A block; the receipts' codes and results."""
        return [(receipt.code, receipt.result) for receipt in self.take(self.body(*calls)).receipts]

    def decide(self, digest: bytes, name: str = "tally-2") -> int:
        """Let three admins vote for an upgrade; its height."""
        first = self.height + 3 + NOTICE
        args = {"name": name, "digest": digest, "first_height": first}
        [(code, made)] = self.add(("ada", "motions", "propose_upgrade", args))
        assert code == "ok" and isinstance(made, tuple) and made[2] == 2
        approval = {"proposal": made[0], "digest": made[1]}
        assert self.add(("bob", "motions", "approve", approval)) == [("ok", 1)]
        assert self.add(("cyd", "motions", "approve", approval)) == [("ok", 0)]
        return first

    def run_to(self, height: int) -> None:
        while self.height < height:
            self.take(NULL_BATCH)

    def ask(self, method: str, contract: str = "motions", **args: Any) -> Any:
        return self.executor.query(contract, method, args)

    def proven(self, client: Registry, contract: str, method: str, **args: Any) -> Any:
        """What a client computes from the answer."""
        _, reads = self.executor.query_proven(contract, method, args)
        known, certificate = (GENESIS.chain, self.ledger.epochs()), self.ledger.head_certificate
        assert certificate is not None
        return proven_answer(client, *known, self.ledger.head, certificate, reads, contract, method, args)


def install(place: Path, make: Callable[[Path], Path] = bundles.write) -> tuple[Library, bytes]:
    library = Library(place / "upgrades")
    return library, library.install(make(place / "source")).digest


@pytest.fixture
def town(tmp_path: Path) -> Iterator[tuple[Town, Library, bytes]]:
    library, digest = install(tmp_path)
    yield Town(library), library, digest


def add(amount: int, name: str = "a") -> tuple[str, str, str, dict[str, Any]]:
    return ("dan", "tally", "add", {"name": name, "amount": amount})


def test_at_its_height_an_upgrade_changes_code_and_state(town: tuple[Town, Library, bytes]) -> None:
    chain, _, digest = town
    first = chain.decide(digest)
    assert chain.ask("scheduled") == ((first, 0, "upgrade", ("tally-2", digest)),)
    chain.run_to(first - 2)
    assert chain.add(add(500)) == [("ok", 500)]
    with pytest.raises(ContractError, match="unknown-method"):
        chain.ask("count", "tally", name="a")
    done = chain.take(chain.body(add(500), add(7)))
    assert [receipt.code for receipt in done.receipts] == ["too-much-at-once", "ok"]
    topics = [(event.contract, event.topic) for event in done.events]
    assert topics[:3] == [("motions", "migrated"), ("motions", "upgrade-active"), ("echo", "here")]
    assert (chain.ask("total", "tally", name="a"), chain.ask("count", "tally", name="a")) == (507, 2)
    assert chain.ask("upgrades") == (("tally-2", digest, first, ("tally", "echo")),)
    assert chain.ask("scheduled") == ()
    assert chain.ask("history") == ((0, "upgrade", ("tally-2", digest), first, 3, "ok", first),)
    assert chain.ask("seen", "tally") == (first,), "a table that is kept in memory from now on"
    assert chain.add(add(1, "b"), add(1)) == [("ok", 1), ("ok", 508)]
    assert chain.ask("seen", "tally") == (first + 1, first + 1)
    chain.reopen()
    assert chain.ask("seen", "tally") == (first + 1, first + 1)


def test_an_audit_runs_every_height_with_its_own_code(town: tuple[Town, Library, bytes]) -> None:
    chain, library, digest = town
    first = chain.decide(digest)
    chain.add(add(500))
    chain.run_to(first)
    chain.add(add(8))
    report = verify_chain(chain.store, GENESIS, registry(library))
    assert (report.height, report.root) == (chain.height, chain.ledger.head.state_root)
    with pytest.raises(RefusedError, match="upgrade-missing"):
        verify_chain(chain.store, GENESIS, registry())


def test_without_the_bundle_a_node_stops_before_the_height_and_goes_on_with_it(tmp_path: Path) -> None:
    library, digest = install(tmp_path)
    one, late = Town(library), Town(Library(tmp_path / "late"))
    bodies: list[bytes] = []

    def both(body: bytes) -> None:
        bodies.append(body)
        assert one.take(body).block_hash == late.take(body).block_hash

    first = NOTICE + 5
    late.nonces = one.nonces
    both(one.body(("ada", "motions", "propose_upgrade", {"name": "t", "digest": digest, "first_height": first})))
    approval = {"proposal": 0, "digest": one.ask("proposals")[0][1]}
    both(one.body(("bob", "motions", "approve", approval), ("cyd", "motions", "approve", approval)))
    while one.height < first - 1:
        both(one.body(add(500)))
    late.executor.registry  # noqa: B018  nothing is missing yet
    with pytest.raises(NodeFault, match="upgrade-missing") as fault:
        late.take(NULL_BATCH)
    assert digest.hex() in fault.value.message and str(first) in fault.value.message
    assert late.height == first - 1 and late.ask("total", "tally", name="a") == one.ask("total", "tally", name="a")
    with pytest.raises(NodeFault, match="upgrade-missing"):
        late.executor.require_upgrades()
    later = [one.body(add(1)), one.body(add(2))]
    hashes = [one.take(body).block_hash for body in later[:1]]
    Library(tmp_path / "late").install(tmp_path / "source")
    assert [late.take(body).block_hash for body in later[:1]] == hashes, "it was found without a restart"


@pytest.mark.parametrize(("bundle", "code"), [(bundles.failing, "not-so"), (bundles.endless, "step-limit")])
def test_a_migration_that_fails_is_undone_everywhere_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Callable[[Path], Path], code: str
) -> None:
    monkeypatch.setattr(counted, "MIGRATION_PASSES", 100_000)
    library, digest = install(tmp_path, bundle)
    chain = Town(library)
    chain.add(add(500))
    first = chain.decide(digest)
    chain.run_to(first - 1)
    before = dict(chain.store.scan(b"stally", b"stallyz"))
    done = chain.take(chain.body(add(500)))
    assert [receipt.code for receipt in done.receipts] == ["ok"], "by the rules that there were"
    assert [(event.topic, event.data) for event in done.events] == [("upgrade-failed", (0, "tally-2", digest, code))]
    assert chain.ask("upgrades") == () and chain.ask("scheduled") == ()
    assert chain.ask("history")[0][5:] == (code, first)
    assert len(dict(chain.store.scan(b"stally", b"stallyz"))) == len(before), "nothing of it is left"
    verify_chain(chain.store, GENESIS, registry(library))


def test_null_batches_run_no_hooks_so_an_upgrade_waits_for_the_next_block(town: tuple[Town, Library, bytes]) -> None:
    chain, _, digest = town
    first = chain.decide(digest)
    chain.run_to(first + 2)
    assert chain.ask("upgrades") == ()
    chain.add(add(1))
    assert chain.ask("upgrades")[0][2] == first + 3


def test_what_is_scheduled_can_be_called_off_until_the_last_block(town: tuple[Town, Library, bytes]) -> None:
    """Else a digest of which nobody has the bundle would end the chain."""
    chain, _, digest = town
    first = chain.decide(digest)
    assert chain.add(("dan", "motions", "cancel_upgrade", {"digest": bytes(32)})) == [("no-upgrade", None)]
    chain.run_to(first - 4)
    [(code, made)] = chain.add(("dan", "motions", "cancel_upgrade", {"digest": digest}))
    assert code == "ok" and isinstance(made, tuple)
    approval = {"proposal": made[0], "digest": made[1]}
    assert chain.add(("ada", "motions", "approve", approval)) == [("ok", 1)]
    assert chain.height == first - 2
    assert chain.add(("bob", "motions", "approve", approval)) == [("ok", 0)]
    assert chain.add(add(500)) == [("ok", 500)]
    assert chain.ask("upgrades") == () and chain.ask("scheduled") == ()
    assert [row[5] for row in chain.ask("history")] == ["canceled", "ok"]


def test_what_was_voted_anew_is_not_called_off_by_a_vote_from_before(town: tuple[Town, Library, bytes]) -> None:
    chain, _, digest = town
    args = {"name": "tally-2", "digest": digest, "first_height": chain.height + 200}
    left: Value = None
    for turn in range(2):
        [(_, made)] = chain.add(("ada", "motions", "propose_upgrade", args))
        assert isinstance(made, tuple)
        approval = {"proposal": made[0], "digest": made[1]}
        chain.add(("bob", "motions", "approve", approval), ("cyd", "motions", "approve", approval))
        if not turn:
            [(_, left)] = chain.add(("dan", "motions", "cancel_upgrade", {"digest": digest}))
            [(_, done)] = chain.add(("ada", "motions", "cancel_upgrade", {"digest": digest}))
            assert isinstance(left, tuple) and isinstance(done, tuple)
            for which in (left, done):
                chain.add(("bob", "motions", "approve", {"proposal": which[0], "digest": which[1]}))
            chain.add(("cyd", "motions", "approve", {"proposal": done[0], "digest": done[1]}))
            assert chain.ask("scheduled") == ()
    assert len(chain.ask("scheduled")) == 1
    assert isinstance(left, tuple)
    old = {"proposal": left[0], "digest": left[1]}
    assert [code for code, _ in chain.add(("cyd", "motions", "approve", old))] == ["no-upgrade"]
    assert len(chain.ask("scheduled")) == 1


def test_what_is_planned_as_far_ahead_as_can_be_is_called_off_at_once(town: tuple[Town, Library, bytes]) -> None:
    chain, _, digest = town
    args = {"name": "tally-2", "digest": digest, "first_height": chain.height + 1 + MAX_AHEAD}
    [(_, made)] = chain.add(("ada", "motions", "propose_upgrade", args))
    assert isinstance(made, tuple)
    approval = {"proposal": made[0], "digest": made[1]}
    chain.add(("bob", "motions", "approve", approval), ("cyd", "motions", "approve", approval))
    [(code, _)] = chain.add(("dan", "motions", "cancel_upgrade", {"digest": digest}))
    assert code == "ok"


def test_a_wallet_that_signs_looks_up_by_the_bundles_that_its_user_has(
    town: tuple[Town, Library, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nobody with a wallet's home could place an order once the market's contract was upgraded."""
    _, library, digest = town
    monkeypatch.setenv(CLIENT_ENV, str(library.directory))
    client_registry.cache_clear()
    client = InformedClient(["127.0.0.1:1"])
    try:
        client.inform(GENESIS, LightChain(dump_genesis(GENESIS)))
        assert client._reader._registry.find(digest) is not None
    finally:
        client_registry.cache_clear()


def test_a_client_without_the_bundle_is_told_so_and_computes_no_nonsense(town: tuple[Town, Library, bytes]) -> None:
    chain, library, digest = town
    first = chain.decide(digest)
    chain.add(add(5))
    assert chain.proven(registry(), "tally", "total", name="a") == 5
    chain.run_to(first)
    chain.add(add(5))
    assert chain.proven(registry(library), "tally", "count", name="a") == 2
    with pytest.raises(ContractError, match="upgrade-missing"):
        chain.proven(registry(), "tally", "total", name="a")
    assert chain.proven(registry(), "governance", "epochs", first=0), "what was not replaced is computed as before"


def test_a_later_upgrade_takes_over_what_it_names(tmp_path: Path) -> None:
    library, digest = install(tmp_path)
    newer = bundles.write(
        tmp_path / "newer",
        upgrade__json='{"name": "tally-3", "version": "3", "contracts": ["tally"]}',
        upgrade__py=bundles.TALLY.replace("(Tally(), Echo())", "(Tally(),)").replace("(total, 1)", "total"),
        limits__py=bundles.LIMITS.replace("100", "50"),
    )
    other = library.install(newer).digest
    chain = Town(library)
    chain.run_to(chain.decide(digest))
    chain.add(add(90))
    first = chain.decide(other, "tally-3")
    chain.run_to(first - 1)
    assert chain.add(add(90)) == [("too-much-at-once", None)]
    assert [(row[0], row[3]) for row in chain.ask("upgrades")] == [("tally-2", ("echo",)), ("tally-3", ("tally",))]
    verify_chain(chain.store, GENESIS, registry(library))
