"""What a gateway tells whom: it asks the state as it is at the head who may read, at every question.

Who sees everything: the validators of the epochs in force and scheduled, those whom an open proposal would make
validators (they fetch a state before they can validate), the admins of all of them, and auditors. What others may read,
``chaincode/access.py`` knows; what a query answers with stands beside the query.

A reader without leave is told "not-allowed", one who has not signed "sign-first", both before anything is looked up:
what there is not is refused like what is others'.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from chaincode import access, governance, validators
from chaincode.access import Readers
from chaincode.contract import Context, ContractError, Subject
from chaincode.roles import KEY_BYTES, each_use
from chaincode.subjects import BUDGET, DEVICE, MARKET, READINGS
from node.errors import RefusedError
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.reading import head_context
from node.limits import QUERY_STEPS
from node.model.block import transaction_in
from node.model.transaction import Transaction

_ACTIVITY: Final = (MARKET, BUDGET, READINGS)
"""What a key's activity tells of."""
MAX_REMEMBERED: Final = 65_536
"""Names whose readers are remembered until one of them changes, and keys of whom it is known whether they see all."""


class Access:
    """Decides for one node. ``committed`` is told of every block."""

    def __init__(self, ledger: Ledger, executor: Executor) -> None:
        self._ledger = ledger
        self._executor = executor
        self._named: dict[tuple[str, str], Readers] = {}
        self._at = b""
        self._all_keys: frozenset[bytes] = frozenset()
        self._sees_all: dict[bytes, bool] = {}
        self._admins: dict[bytes, bool] = {}
        self.version = 0
        """Another one whenever the answers of ``readers`` may be."""

    def committed(self, changed: Iterable[bytes]) -> None:
        """A block is stored that changed these keys of the state."""
        if self._named and any(key.startswith(access.STANDING) for key in changed):
            self._named.clear()
            self.version += 1

    def sees_all(self, reader: bytes) -> bool:
        """Whether ``reader``, the key that signed or b"", may see everything."""
        if not reader:
            return False
        self._look()
        known = self._sees_all.get(reader)
        if known is None:
            known = reader in self._all_keys or access.is_auditor(self.context(), reader)
            _remember(self._sees_all, reader, known)
        return known

    def is_admin(self, reader: bytes) -> bool:
        """Whether ``reader`` may see every registry."""
        if not reader:
            return False
        self._look()
        known = self._admins.get(reader)
        if known is None:
            known = access.is_admin(self.context(), reader)
            _remember(self._admins, reader, known)
        return known

    def is_somebody(self, reader: bytes) -> bool:
        """Whether ``reader`` acts for somebody here, sees everything, or was let in by somebody: who it is not may be
        anyone, and any number of them, for keys cost nothing."""
        return self.sees_all(reader) or (bool(reader) and self._is_somebody(self.context(), reader))

    def require_all(self, reader: bytes) -> None:
        """Raises RefusedError, "sign-first" or "not-allowed", unless ``reader`` may see everything."""
        if not self.sees_all(reader):
            raise _refusal(reader)

    def require_query(
        self, reader: bytes, contract: str, method: str, args: Mapping[str, Any], *, proven: bool
    ) -> None:
        """Whether ``reader`` may have the answer, and with ``proven`` all entries that it rests on: strangers never,
        and nobody those of a name that there is not, who could choose it for what the proof shows beside.

        Raises RefusedError: sign-first, not-allowed; ContractError: unknown-contract, unknown-method, bad-args.
        """
        ctx = self.context()
        subjects = self._executor.registry.audience(ctx, contract, method, args, proven=proven)
        if self.sees_all(reader):
            return
        if not access.may_read(ctx, reader, subjects):
            raise _refusal(reader)
        if proven and not (self._is_somebody(ctx, reader) and access.are_there(ctx, subjects)):
            raise _refusal(reader)

    def stored(self, height: int, place: int) -> Transaction | None:
        """The transaction at a place of a stored block; None if it has been erased."""
        block = self._ledger.block(height)
        return None if block is None else transaction_in(block.body, place)

    def may_see_result(self, reader: bytes, tx: Transaction) -> bool:
        """Whether ``reader`` may see a transaction, and what came of it: who sent it, and who may read all that the
        sender acts for. One part would not do: a key may have agreed to act for somebody else's device as well."""
        data = self._executor.registry.results_of(tx.payload.contract)
        return self._reads_all_of(reader, tx.payload.sender, (data,))

    def require_activity(self, reader: bytes, key: bytes) -> None:
        """Whether ``reader`` may see when ``key`` was active: who holds it, and who may read orders, money and
        readings of all that it acts for.

        Raises RefusedError: sign-first, not-allowed.
        """
        if not self._reads_all_of(reader, key, _ACTIVITY):
            raise _refusal(reader)

    @property
    def topics(self) -> Mapping[str, str]:
        """Topic of events to the class of its data, or PUBLIC; all others are for those alone who see everything."""
        return self._executor.registry.events

    def readers(self, name: str, data: str) -> Readers:
        """The keys that may read what an event tells of ``name``, each until a block time."""
        known = self._named.get((name, data))
        if known is None:
            known = access.named_readers(self.context(), name, data)
            _remember(self._named, (name, data), known)
        return known

    @property
    def time(self) -> int:
        """The head's block time: what was granted until an earlier one is over."""
        return self._ledger.head.time

    def context(self) -> Context:
        """The state after the head, for a question of its own."""
        return head_context(self._ledger, steps=QUERY_STEPS)

    def _reads_all_of(self, reader: bytes, key: bytes, classes: tuple[str, ...]) -> bool:
        """Whether ``reader`` holds ``key``, sees everything, or may read data of all ``classes`` of all that ``key``
        acts for. Of that only as much is looked at as it takes to say no, so that how long it takes tells strangers no
        more than the answer. A key that acts for more than a question may look at is its holder's alone."""
        if not reader:
            return False
        if key == reader or self.sees_all(reader):
            return True
        ctx, acts = self.context(), False
        try:
            for kind, name in each_use(ctx, key):
                acts, of = True, DEVICE if kind == "meter" else kind
                if not all(access.may_read(ctx, reader, (Subject(of, name, data),)) for data in classes):
                    return False
        except ContractError as error:
            if error.code != "step-limit":
                raise
            return False
        return acts

    def _is_somebody(self, ctx: Context, reader: bytes) -> bool:
        """Whether ``reader`` acts for somebody here, or was let in by somebody. Proofs are for these alone: they hold
        digests of entries beside, against which guesses can be tried."""
        return len(reader) == KEY_BYTES and (
            access.was_let_in(ctx, reader) or self._executor.registry.knows(ctx, reader)
        )

    def _look(self) -> None:
        """Forget what was known of the keys if there is a newer head."""
        if self._at != self._ledger.head_hash:
            self._at = self._ledger.head_hash
            self._sees_all.clear()
            self._admins.clear()
            self._all_keys = self._keys_that_see_all()

    def _keys_that_see_all(self) -> frozenset[bytes]:
        ctx, next_height = self.context(), self._ledger.head.height + 1
        keys = set(self._ledger.epoch_at(next_height).keys).union(self._ledger.epochs()[-1].keys)
        newest = validators.epoch_count(ctx.get) - 1
        if newest >= 0:
            rows = [validators.epoch_row(ctx.get, newest)]
            if newest and rows[0].first_height > next_height:  # it is scheduled: the one before is in force
                rows.append(validators.epoch_row(ctx.get, newest - 1))
            keys.update(seat.admin_key for row in rows for seat in row.seats)
        keys.update(governance.proposed_keys(ctx))
        return frozenset(keys)


def _refusal(reader: bytes) -> RefusedError:
    if reader:
        return RefusedError("not-allowed", "this key may not read that, whether it exists or not")
    return RefusedError("sign-first", "not everybody may read that")


def _remember(table: dict[Any, Any], key: object, value: object) -> None:
    if len(table) >= MAX_REMEMBERED:
        table.clear()
    table[key] = value
