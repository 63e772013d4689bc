"""The exchange in this process: the ledger's own contracts over a dictionary, for studies of whole seasons.

Every rule is the chain's: the same contracts in the same order, their hooks, their calendar, a transaction's steps,
and what fails is undone alone (``node/executor.py`` says the way of a block). Left out is what a chain needs because
its members do not trust one another: signatures (whoever is named as caller is believed, and every meter), nonces,
receipts, hashes and roots, limits on the size of a value. Transactions of a block run sender by sender in an order that
no sender can choose, each sender's as given.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from broker.exchange import Answer, Call
from broker.local_state import LocalState, LocalView
from chaincode.contract import Context, Contract, ContractError, Event, State, Value
from chaincode.registry import Registry, default_registry
from node.errors import ConfigError
from node.executor import HOOK_FAILED, HOOK_STEPS, INTERNAL, TRANSACTION_STEPS
from node.ledger import blinding
from node.ledger.first_block import GENESIS_STEPS
from node.model.codec import sha256
from node.model.keys import TAG_HOOK
from node.model.receipt import OK

CHAIN: Final = bytes(32)
"""The id of a chain that is none, in what meters would sign."""
QUERY_STEPS: Final = 10_000_000
"""Nobody else waits for a query's answer here."""

_TAG_ID: Final = b"watt/local-call/1\0"
_logger = logging.getLogger(__name__)


class Transaction(NamedTuple):
    """A call and the id under which the contracts know it, 32 bytes, never given before."""

    id: bytes
    call: Call


class LocalExchange:
    """``broker.exchange.Exchange`` from genesis settings: by contract, as in a genesis document.

    ``time``: block time at which it begins. Raises ConfigError("bad-genesis").
    """

    def __init__(self, settings: Mapping[str, Mapping[str, Any]], time: int, chain: bytes = CHAIN) -> None:
        self._registry: Registry = default_registry()
        self._state = LocalState()
        self._view = LocalView(self._state)
        self._chain = chain
        self._height = 0
        self._head_time = self._previous_time = self._now = time
        self._count = 0
        self._blind = blinding.FIRST_BLIND
        self._events: list[Event] = []
        self._failed: frozenset[str] = frozenset()
        self._begin = self._hooks_of("begin_block")
        self._end = self._hooks_of("end_block")
        self._calendars = [each for each in self._registry.contracts if _has(each, "next_event")]
        self._genesis(settings)

    @property
    def now(self) -> int:
        """Block time, s."""
        return self._now

    @property
    def height(self) -> int:
        """Blocks so far."""
        return self._height

    @property
    def entries(self) -> Mapping[bytes, Value]:
        """The whole state."""
        return self._state.values

    def submit(self, calls: Sequence[Call]) -> list[Answer]:
        """Have all calls done now, in one block; an answer for each, in their order."""
        batch = []
        for call in calls:
            self._count += 1
            batch.append(Transaction(sha256(_TAG_ID, self._count.to_bytes(8, "big")), call))
        height = (self._height + 1).to_bytes(8, "big")
        ranks = {sender: sha256(height, sender) for sender in {call.key for call in calls}}
        order = sorted(range(len(batch)), key=lambda place: ranks[batch[place].call.key])  # stable: as given
        answers = self.block(self._now, [batch[place] for place in order])
        return [answer for _, answer in sorted(zip(order, answers, strict=True), key=lambda pair: pair[0])]

    def advance(self, time: int) -> list[Event]:
        """Let block time reach ``time``, with every block that the calendar asks for until then; the events of these
        and of ``submit`` since the last call."""
        while (due := self.next_event()) is not None and due <= time:
            self.block(due, ())
        self._now = max(self._now, time)
        events, self._events = self._events, []
        return events

    def query(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        """The answer of the state after the last block. Raises ContractError."""
        ctx = self._context(self._view, b"", b"", QUERY_STEPS)
        return self._registry.call(ctx, contract, method, args, "query")

    def block(
        self, time: int, transactions: Sequence[Transaction], blind: bytes = blinding.FIRST_BLIND
    ) -> list[Answer]:
        """A block of ``transactions`` as they stand, at ``time`` or that of the head if it is later; their answers.
        ``blind``: what the contracts hide values with, which here hides nothing unless it is a chain's."""
        self._blind = blind
        self._previous_time, self._head_time = self._head_time, max(self._head_time, time)
        self._height += 1
        self._now = max(self._now, self._head_time)
        start = len(self._events)
        self._run_hooks(self._begin)
        answers = []
        for transaction in transactions:
            call = transaction.call
            ctx = self._context(self._state, call.key, transaction.id, TRANSACTION_STEPS)
            work = partial(self._registry.call, ctx, call.contract, call.method, call.args)
            answers.append(self._attempt(ctx, work))
        self._run_hooks(self._end)
        self._failed = frozenset([event.contract for event in self._events[start:] if event.topic == HOOK_FAILED])
        return answers

    def next_event(self) -> int | None:
        """The block time at which the calendar wants a block; None if it wants none."""
        due = []
        for contract in self._calendars:
            if contract.name not in self._failed:
                ctx = self._context(self._view, b"", b"", QUERY_STEPS)
                due.append(contract.next_event(ctx))
        return min([max(time, self._head_time) for time in due if time is not None], default=None)

    def _genesis(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        unknown = settings.keys() - {contract.name for contract in self._registry.contracts}
        if unknown:
            raise ConfigError("bad-genesis", f"there is no contract {min(unknown)!r}")
        ctx = self._context(self._state, b"", sha256(TAG_HOOK, b"genesis"), GENESIS_STEPS)
        parts = {name: {key: _plain(value) for key, value in part.items()} for name, part in settings.items()}
        try:
            self._registry.genesis(ctx, parts)
        except ContractError as error:
            raise ConfigError("bad-genesis", f"{ctx.contract}: {error}") from error
        self._events += ctx.events
        self._state.begin()

    def _hooks_of(self, hook: str) -> list[tuple[Contract, str, Callable[[Context], None]]]:
        contracts = [each for each in self._registry.contracts if _has(each, hook)]
        return [(contract, hook, getattr(contract, hook)) for contract in contracts]

    def _run_hooks(self, hooks: list[tuple[Contract, str, Callable[[Context], None]]]) -> None:
        height = self._height.to_bytes(8, "big")
        for contract, hook, run in hooks:
            name = f"{contract.name}.{hook}"
            ctx = self._context(self._state, b"", sha256(TAG_HOOK, name.encode(), height), HOOK_STEPS)
            ctx.contract = contract.name
            answer = self._attempt(ctx, partial(run, ctx))
            for failure in ctx.failures:
                _logger.error("block %d: a part of %s was undone: %s", self._height, name, failure, exc_info=failure)
            if answer.code != OK:
                _logger.error("block %d: the hook %s failed and was undone: %s", self._height, name, answer.code)
                self._events.append(Event(contract.name, HOOK_FAILED, (), (hook, answer.code)))

    def _attempt(self, ctx: Context, call: Callable[[], Value]) -> Answer:
        """Run one call: keep what it wrote and emitted, or undo it if it fails."""
        self._state.begin()
        try:
            result = call()
        except ContractError as error:
            self._state.undo()
            return Answer(error.code, None)
        except (OSError, MemoryError):
            raise
        except Exception:
            _logger.exception("block %d: a mistake in contract %r", self._height, ctx.contract)
            self._state.undo()
            return Answer(INTERNAL, None)
        self._events += ctx.events
        return Answer(OK, result)

    def _context(self, state: State, sender: bytes, tx_id: bytes, steps: int) -> Context:
        return Context(
            state,
            chain=self._chain,
            height=self._height,
            time=self._head_time,
            previous_time=self._previous_time,
            sender=sender,
            tx_id=tx_id,
            step_limit=steps,
            verifier=_believed,
            blind=blinding.of_call(self._blind, tx_id),
        )


def _believed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Nobody outside this process hands anything in."""
    return True


def _has(contract: Contract, method: str) -> bool:
    return getattr(type(contract), method) is not getattr(Contract, method)


def _plain(value: Any) -> Value:
    """JSON as a state value: arrays become tuples."""
    return tuple([_plain(item) for item in value]) if isinstance(value, list | tuple) else value
