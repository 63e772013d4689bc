"""What a contract is, and all that it may see.

A contract is a class without attributes of its own whose methods are marked ``@transaction`` or ``@query``.
Everything it knows comes from the ``Context``: who calls, in which block, at which block time, and the
state. There is no clock, no randomness, no float, no input or output: the same calls on the same state
give the same bytes on every machine. ``chaincode/checker.py`` reads the source and refuses what could break that.

The arguments of a marked method are typed (``int``, ``str``, ``bytes``, ``bool``, ``tuple[...]``, ``X | None``);
the runtime checks them exactly before the call and refuses with ``bad-args``. What the method returns (a
``Value``) goes into the receipt, or is the answer of the query.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar, overload

Value: TypeAlias = "bool | int | str | bytes | tuple[Value, ...] | None"

Verifier: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) -> whether the key's holder signed the message with Ed25519; never an error."""

MAX_AMOUNT = 2**63 - 1
"""Token amounts, energies and times are integers of at most 63 bits."""

VERIFY_STEPS = 100
"""What the check of a signature counts: it takes as long as some fifty reads."""
VERIFY_BYTES_OF_A_STEP = 256


class ContractError(Exception):
    """A refusal by the rules. Undoes the transaction's writes; the receipt carries ``code`` and ``details``.

    ``code``: stable, kebab-case; ``message``: for the developer, never stored; ``details``: integers that explain it.
    """

    def __init__(self, code: str, message: str = "", details: tuple[int, ...] = ()) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details


class State(Protocol):
    """Ordered bytes to values, as a contract sees it through its Context. Values are immutable tuples and scalars."""

    def get(self, key: bytes) -> Value: ...

    def encoded(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: Value) -> None: ...

    def delete(self, key: bytes) -> None: ...

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, Value]]: ...

    def mark(self) -> int:
        """A point to which ``rollback`` returns, within the transaction or hook under way."""

    def check(self, mark: int) -> None:
        """Raises TypeError, ValueError or OverflowError if what was written since ``mark`` cannot be stored."""

    def rollback(self, mark: int) -> None:
        """Forget what was written since ``mark``, and every mark made after it."""


@dataclass(frozen=True, slots=True)
class Event:
    """What subscribers see. ``topic``: kebab-case; ``keys``: ids of the devices and networks that it concerns."""

    contract: str
    topic: str
    keys: tuple[str, ...]
    data: Value


class Context:
    """One transaction's (or hook's, or query's) view of the world.

    Every read, write and scanned item counts one step, the check of a signature ``VERIFY_STEPS`` and one more per
    ``VERIFY_BYTES_OF_A_STEP`` of its message; above the limit: ContractError("step-limit"). Keys are at most 256 bytes;
    a value's size is checked when it is encoded at the end of the transaction ("too-large").
    """

    __slots__ = (
        "_events",
        "_failures",
        "_get",
        "_state",
        "_steps_left",
        "_verifier",
        "blind",
        "chain",
        "contract",
        "height",
        "previous_time",
        "sender",
        "time",
        "tx_id",
    )

    def __init__(
        self,
        state: State,
        *,
        chain: bytes,
        height: int,
        time: int,
        previous_time: int,
        sender: bytes,
        tx_id: bytes,
        step_limit: int,
        verifier: Verifier,
        blind: bytes = b"",
    ) -> None:
        self._state = state
        self._get = state.get
        self._verifier = verifier
        self._steps_left = step_limit
        self._events: list[Event] = []
        self._failures: list[ContractError] = []
        self.chain = chain
        self.height = height
        self.time = time
        """Block time, seconds since the epoch."""
        self.previous_time = previous_time
        """The parent block's time."""
        self.sender = sender
        """The public key that signed; empty in hooks and in unsigned queries."""
        self.tx_id = tx_id
        """The transaction's id; in hooks a digest of the hook's name and the height."""
        self.blind = blind
        """What nobody can guess who has not seen the chain's signatures, another in each call; to hide a value of few
        possibilities beside it. Empty in queries and at genesis."""
        self.contract = ""
        """The name of the contract being called: the source of emitted events."""

    @property
    def events(self) -> tuple[Event, ...]:
        """What was emitted so far."""
        return tuple(self._events)

    @property
    def failures(self) -> tuple[ContractError, ...]:
        """What ``attempt`` undid so far, each with the mistake that it stands for as its cause."""
        return tuple(self._failures)

    def attempt(self, work: Callable[[], object]) -> ContractError | None:
        """Do one unit of a hook's work so that its failure is its own. None, or the failure: its writes and events are
        undone then, and the caller notes it and goes on with the next unit.

        A mistake in the contract is the failure "internal", as is a write that cannot be stored. The unit has half of
        the steps that are left, so that those after it have some ("step-limit"); steps it took stay taken. Faults of
        the machine pass through. Hooks only: a transaction fails as a whole.
        """
        assert not self.sender, "attempted in a transaction"
        mark, told, kept_back = self._state.mark(), len(self._events), self._steps_left // 2
        self._steps_left -= kept_back
        try:
            self._unit(work, mark, told)
        except ContractError as failure:
            self._state.rollback(mark)
            del self._events[told:]
            self._failures.append(failure)
            return failure
        finally:
            self._steps_left = max(self._steps_left, 0) + kept_back
        return None

    def _unit(self, work: Callable[[], object], mark: int, told: int) -> None:
        """Do a unit of work and see to it that its writes and events can be stored."""
        try:
            work()
            self._state.check(mark)
            for event in self._events[told:]:
                _require_storable(event.data)
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as mistake:
            raise ContractError("internal", f"{type(mistake).__name__}: {mistake}") from mistake

    def get(self, key: bytes) -> Value:
        """The value at ``key``, or None."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise _step_limit()
        return self._get(key)

    def encoded(self, key: bytes) -> bytes | None:
        """The canonical encoding of the value at ``key``, as the state's Merkle tree binds it, or None."""
        self._step()
        return self._state.encoded(key)

    def put(self, key: bytes, value: Value) -> None:
        """Set ``key``. ``value`` is not None."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise _step_limit()
        self._state.put(key, value)

    def delete(self, key: bytes) -> None:
        """Remove ``key``, if it is there."""
        self._step()
        self._state.delete(key)

    def scan(self, prefix: bytes, *, after: bytes = b"", reverse: bool = False) -> Iterator[tuple[bytes, Value]]:
        """The pairs whose key starts with ``prefix``, in byte order; with ``after``, those behind that key.

        ``prefix`` begins with the name of a table (``chaincode/keys.py``): a scan stays within one. Do not write under
        ``prefix`` while a scan of it is under way.
        """
        start, end = prefix, _after_prefix(prefix)
        if after:
            start, end = (start, after) if reverse else (after + b"\0", end)
        for pair in self._state.scan(start, end, reverse):
            self._steps_left -= 1
            if self._steps_left < 0:
                raise _step_limit()
            yield pair

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes) over ``message`` was made by the holder of the Ed25519 ``key``; malformed
        input is False. ``message`` begins with a tag of its purpose and names the chain, or it could be replayed.
        """
        self._steps_left -= VERIFY_STEPS + len(message) // VERIFY_BYTES_OF_A_STEP
        if self._steps_left < 0:
            raise _step_limit()
        return self._verifier(key, message, signature)

    def emit(self, topic: str, keys: tuple[str, ...], data: Value) -> None:
        """Tell subscribers, if the transaction succeeds."""
        self._step()
        self._events.append(Event(self.contract, topic, keys, data))

    def _step(self) -> None:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise _step_limit()


def _step_limit() -> ContractError:
    return ContractError("step-limit", "the call does more than one transaction may")


def _require_storable(value: Value) -> None:
    """Raises OverflowError or TypeError for data of an event that has no encoding."""
    waiting: list[tuple[Value, ...]] = [(value,)]
    while waiting:
        for item in waiting.pop():
            if isinstance(item, int):
                if not -(2**63) <= item < 2**64:
                    raise OverflowError("an integer beyond 64 bits")
            elif isinstance(item, tuple):
                waiting.append(item)
            elif item is not None and not isinstance(item, (str, bytes)):  # a union is made anew each time
                raise TypeError(f"a {type(item).__name__} in an event")


def _after_prefix(prefix: bytes) -> bytes:
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        raise ValueError("a scan needs a prefix")
    return stripped[:-1] + bytes([stripped[-1] + 1])


class Subject(NamedTuple):
    """Whose data something is. ``kind`` and ``data``, the class of the data: see ``chaincode/subjects.py``."""

    kind: str
    name: str
    data: str


Of: TypeAlias = Callable[[Context, dict[str, Any]], tuple[Subject, ...]]
"""The subjects of a query's answer, by its arguments."""


class Contract:
    """Base of all contracts. Instances hold nothing; hooks do nothing unless a contract has a calendar."""

    name: ClassVar[str]
    indexed: ClassVar[tuple[bytes, ...]] = ()
    """The tables (``chaincode/keys.py``) whose keys are kept sorted in memory, values decoded: for what is
    scanned on every call and does not grow for ever, such as the open orders. Other tables are read from disk."""

    standing: ClassVar[tuple[bytes, ...]] = ()
    """The tables that the answers of ``knows`` and ``whose`` hang on: until one of them changes, nodes need not ask.
    Where a row's key has 32 bytes or more behind the table's name, these are a public key, and the answer for it alone
    may be another one; a change of any other row may be one of everything."""

    results: ClassVar[str] = ""
    """The class of data (``subjects.py``) of what its transactions come to, which whoever may read the sender's data of
    that class may see. "": for the sender, and those whose own it is. Everybody else is not even told that a
    transaction is there: its id follows from what it says, so whoever knows the sender's key could try what it may have
    said, and learn when it was active."""

    events: ClassVar[tuple[tuple[str, str], ...]] = ()
    """(topic, class of its data, or ``events.PUBLIC``) of events beside those in ``events.py``."""

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        """Write the contract's first state from its part of the genesis document."""

    def begin_block(self, ctx: Context) -> None:
        """Runs before a block's transactions (not in null batches)."""

    def end_block(self, ctx: Context) -> None:
        """Runs after a block's transactions (not in null batches)."""

    def knows(self, ctx: Context, key: bytes) -> bool:
        """Whether ``key`` acts for anybody. Nodes take in transactions of keys alone that some contract knows."""
        return True

    def whose(self, ctx: Context, key: bytes) -> str:
        """With whom nodes count what ``key`` sends, so that they share out their room; "" if it cannot say."""
        return ""

    def next_event(self, ctx: Context) -> int | None:
        """The block time at which ``begin_block`` next has something to do; None if nothing is due."""
        return None


Method = TypeVar("Method", bound=Callable[..., Value])


def transaction(method: Method) -> Method:
    """Marks a method that a signed transaction may call: ``def m(self, ctx, *, name: type, ...) -> Value``."""
    method.chaincode_kind = "transaction"  # type: ignore[attr-defined]
    return method


@overload
def query(method: Method) -> Method: ...


@overload
def query(*, of: Of, proven: Of | None = None) -> Callable[[Method], Method]: ...


def query(method: Method | None = None, *, of: Of | None = None, proven: Of | None = None) -> Any:
    """Marks a method that reads: called outside blocks, its writes are refused.

    ``of``: whose data it answers with (``chaincode/subjects.py``); none: only who sees everything may ask. ``proven``:
    the same of all entries that it reads, which go along with a proven answer, if they tell more than the answer does.
    """

    def mark(marked: Method) -> Method:
        marked.chaincode_kind = "query"  # type: ignore[attr-defined]
        marked.chaincode_of = of  # type: ignore[attr-defined]
        marked.chaincode_proven = proven or of  # type: ignore[attr-defined]
        return marked

    return mark if method is None else mark(method)
