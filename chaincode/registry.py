"""The one list of contracts: dispatch by name, exact checks of arguments, hooks and the calendar.

Arguments arrive as decoded MessagePack. Each annotation of a marked method is turned once into a *reader*: a
function that takes what arrived and returns what the method shall get, or raises ``bad-args``. Arrays become
tuples; ``bool`` is not an ``int``; nothing is converted otherwise. An argument of a query whose type is one of
``arguments.py`` is checked against the state, too.
"""

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from chaincode.accounts import Accounts
from chaincode.agreements import Agreements
from chaincode.bounds import BOUNDS, Bound
from chaincode.budget import Budget
from chaincode.checker import check_modules
from chaincode.companies import Companies
from chaincode.contract import Context, Contract, ContractError, Of, Subject, Value
from chaincode.erasure import Erasure
from chaincode.events import CLOSED, EVENTS
from chaincode.governance import Governance
from chaincode.grants import Grants
from chaincode.grid import Grid
from chaincode.identity import Identity
from chaincode.key_changes import KeyChanges
from chaincode.market import Market
from chaincode.motions import Motions
from chaincode.origin import Origins
from chaincode.overview import Overview
from chaincode.periods import Periods
from chaincode.pseudonyms import Privacy
from chaincode.requests import Requests
from chaincode.rules import Rules
from chaincode.sales import Sales
from chaincode.settlement import Settlement
from chaincode.statements import Statements
from chaincode.subjects import closed, found
from chaincode.supply import Supply
from chaincode.tariffs import Tariffs
from chaincode.upgrades import Active, Find, active
from chaincode.validators import Get

Kind: TypeAlias = Literal["transaction", "query"]
Reader: TypeAlias = Callable[[Any], Any]

MIN_INT = -(2**63)
MAX_INT = 2**64 - 1
MAX_STR_CHARACTERS = 256
_TABLE = re.compile(rb"[a-z0-9-]+/\Z")


class _Method(NamedTuple):
    call: Callable[..., Value]
    kind: str
    readers: dict[str, Reader]
    required: frozenset[str]
    defaults: dict[str, Any]
    bounds: tuple[tuple[str, Bound], ...]
    of: Of
    proven: Of


class Registry:
    """Contracts by name, in the order in which their hooks run.

    Their sources, and those of the chaincode modules that they import, are checked here: raises
    ``checker.CheckError`` naming file, line and reason. ValueError for two contracts of one name, a table
    that is none, a marked method whose arguments are not keyword-only or not of a type that can be checked.
    """

    def __init__(self, contracts: Sequence[Contract], find: Find | None = None, *, check: bool = True) -> None:
        """``find``: gives the bundles of upgrades that are installed here. ``check``: False leaves the sources to the
        nodes, which agree on blocks by what these contracts compute; to read them all takes a second."""
        if check:
            check_modules([type(contract).__module__ for contract in contracts])
        self._check = check
        self.contracts = tuple(contracts)
        self.find = find or _nothing
        self.missing: dict[str, Active] = {}
        """The contracts whose code is not here, by name: their upgrade is active and its bundle is not installed."""
        self._first = self
        self._later: dict[tuple[Active, ...], Registry] = {}
        self._methods: dict[str, dict[str, _Method]] = {}
        self._named = {contract.name: contract for contract in contracts}
        self.events: Mapping[str, str] = _events_of(contracts)
        """Topic of events to the class of its data; what stands nowhere is for those alone who see everything."""
        for contract in contracts:
            if contract.name in self._methods:
                raise ValueError(f"two contracts are called {contract.name!r}")
            self._methods[contract.name] = _methods_of(contract)
        self.indexed: tuple[bytes, ...] = tuple(table for contract in contracts for table in contract.indexed)
        """The tables that the state keeps sorted in memory."""
        self.standing: tuple[bytes, ...] = tuple(table for contract in contracts for table in contract.standing)
        """The tables that ``knows`` and ``whose`` hang on."""
        for table in self.indexed:
            if not _TABLE.match(table) or self.indexed.count(table) > 1:
                raise ValueError(f"{table!r} is no table of one contract")

    def at(self, get: Get) -> "Registry":
        """The contracts by a state, whose entries ``get`` gives: these, and what upgrades have made of them.

        Upgrades that are not installed here are ``missing``: calls of their contracts end with "upgrade-missing".
        """
        rows = active(get)
        if not rows:
            return self._first
        first = self._first
        known = first._later.get(rows)
        if known is None or any(first.find(row.digest) for row in known.missing.values()):
            known = first._later[rows] = first._upgraded(rows)
        return known

    def _upgraded(self, rows: tuple[Active, ...]) -> "Registry":
        contracts = {contract.name: contract for contract in self.contracts}
        missing: dict[str, Active] = {}
        for row in rows:
            bundle = self.find(row.digest)
            own = () if bundle is None else bundle.contracts
            contracts.update({contract.name: contract for contract in own if contract.name in row.contracts})
            missing.update(dict.fromkeys(row.contracts, row) if bundle is None else {})
        later = Registry(tuple(contracts.values()), self.find, check=self._check)
        later.missing, later._first = missing, self
        return later

    def call(
        self, ctx: Context, contract: str, method: str, args: Mapping[str, Any], kind: Kind = "transaction"
    ) -> Value:
        """Check ``args`` and call the method; returns what it returns.

        Raises ContractError: "unknown-contract", "unknown-method" (also for a method of the other kind),
        "bad-args", or what the method raises; before that what the bounds of its arguments do.
        """
        entry = self._method(contract, method, kind)
        arguments = _read(entry, args)
        ctx.contract = contract
        for name, bound in entry.bounds:
            if arguments.get(name) is not None:
                bound(ctx, arguments, arguments[name])
        return entry.call(ctx, **arguments)

    def check_call(self, contract: str, method: str, args: Mapping[str, Any], kind: Kind = "transaction") -> None:
        """Whether ``call`` would reach the method. Raises ContractError as it would."""
        _read(self._method(contract, method, kind), args)

    def audience(
        self, ctx: Context, contract: str, method: str, args: Mapping[str, Any], *, proven: bool
    ) -> tuple[Subject, ...]:
        """Whose data a query answers with: nobody's if all that it names does not exist. ``proven``: whose are all
        entries that it reads. Raises ContractError as ``call`` does before it reaches the method.
        """
        entry = self._method(contract, method, "query")
        arguments = {**entry.defaults, **_read(entry, args)}
        ctx.contract = contract
        return found(ctx, entry.proven if proven else entry.of, arguments)

    def genesis(self, ctx: Context, settings: Mapping[str, Mapping[str, Value]]) -> None:
        """Let every contract write its first state. ``settings``: by contract name, none for those not named."""
        for contract in self.contracts:
            ctx.contract = contract.name
            contract.genesis(ctx, dict(settings.get(contract.name, {})))

    def begin_block(self, ctx: Context) -> None:
        """Every contract's ``begin_block``, in order."""
        for contract in self.contracts:
            ctx.contract = contract.name
            contract.begin_block(ctx)

    def end_block(self, ctx: Context) -> None:
        """Every contract's ``end_block``, in order."""
        for contract in self.contracts:
            ctx.contract = contract.name
            contract.end_block(ctx)

    def next_event(self, ctx: Context) -> int | None:
        """The earliest block time at which a contract's calendar has something to do; None if nothing is due."""
        earliest: int | None = None
        for contract in self.contracts:
            ctx.contract = contract.name
            due = contract.next_event(ctx)
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def knows(self, ctx: Context, key: bytes) -> bool:
        """Whether ``key`` acts for anybody; without a contract that could say no, every key may."""
        knowing = [contract for contract in self.contracts if type(contract).knows is not Contract.knows]
        return not knowing or any(contract.knows(ctx, key) for contract in knowing)

    def whose(self, ctx: Context, key: bytes) -> str | None:
        """With whom nodes count what ``key`` sends: as a contract says, else with all others that are known; None if
        nobody knows it."""
        if not self.knows(ctx, key):
            return None
        return next(filter(None, (contract.whose(ctx, key) for contract in self.contracts)), "")

    def results_of(self, contract: str) -> str:
        """The class of data that a contract's results are; "" if it has not declared one, or is not here."""
        found = self._named.get(contract)
        return "" if found is None or contract in self.missing else found.results

    def _method(self, contract: str, method: str, kind: Kind) -> _Method:
        if contract in self.missing:
            raise ContractError("upgrade-missing", f"{_named(self.missing[contract])} made {contract} what it is")
        methods = self._methods.get(contract)
        if methods is None:
            raise ContractError("unknown-contract", f"there is no contract {contract!r}")
        entry = methods.get(method)
        if entry is None or entry.kind != kind:
            raise ContractError("unknown-method", f"{contract} has no {kind} {method!r}")
        return entry


@functools.cache
def default_registry() -> Registry:
    """Every contract of wattledger; of upgrades none is there."""
    return registry_with(_nothing)


def registry_with(find: Find, *, check: bool = True) -> Registry:
    """Every contract of wattledger, in the order in which their hooks run: at genesis, whoever is named comes first.
    ``find``: gives the bundles of upgrades that are installed; ``check`` as for ``Registry``."""
    return Registry(
        [
            Accounts(),
            Grid(),
            Identity(),
            Motions(),
            KeyChanges(),
            Budget(),
            Overview(),
            Agreements(),
            Sales(),
            Requests(),
            Supply(),
            Companies(),
            Tariffs(),
            Market(),
            Settlement(),
            Periods(),
            Origins(),
            Statements(),
            Erasure(),
            Governance(),
            Rules(),
            Grants(),
            Privacy(),
        ],
        find,
        check=check,
    )


def _nothing(digest: bytes) -> None:
    """No bundle is installed."""


def _named(upgrade: Active) -> str:
    return f"the upgrade {upgrade.name} with digest {upgrade.digest.hex()}, which is not installed here,"


def _events_of(contracts: Sequence[Contract]) -> dict[str, str]:
    """What ``events.py`` says, and beside it what contracts say of other topics: of two the first. An upgrade opens no
    topic that is closed, or of narrower a class."""
    found = dict(EVENTS)
    for contract in contracts:
        for topic, data in contract.events:
            if topic not in CLOSED:
                found.setdefault(topic, data)
    return found


def _methods_of(contract: Contract) -> dict[str, _Method]:
    methods = {}
    for name, function in inspect.getmembers(contract, inspect.ismethod):
        kind = getattr(function, "chaincode_kind", None)
        if kind is not None:
            methods[name] = _method(function, kind, f"{contract.name}.{name}")
    return methods


def _method(function: Callable[..., Value], kind: str, label: str) -> _Method:
    hints = typing.get_type_hints(function, include_extras=True)
    readers: dict[str, Reader] = {}
    required = set()
    defaults = {}
    bounds: list[tuple[str, Bound]] = []
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if position == 0:
            continue  # the context
        if parameter.kind is not parameter.KEYWORD_ONLY:
            raise ValueError(f"{label}: the argument {parameter.name!r} is not keyword-only")
        annotation = hints.get(parameter.name)
        readers[parameter.name] = _reader(annotation, f"{label}, argument {parameter.name!r}")
        bounds += [(parameter.name, BOUNDS[mark]) for mark in _marks(annotation)]
        if parameter.default is parameter.empty:
            required.add(parameter.name)
        else:
            defaults[parameter.name] = parameter.default
    of, proven = (getattr(function, mark, None) or closed for mark in ("chaincode_of", "chaincode_proven"))
    if bounds and kind != "query":
        raise ValueError(f"{label}: a transaction checks the bounds of its arguments itself")
    return _Method(function, kind, readers, frozenset(required), defaults, tuple(bounds), of, proven)


def _read(entry: _Method, args: Mapping[str, Any]) -> dict[str, Any]:
    readers = entry.readers
    arguments = {}
    for name, value in args.items():
        reader = readers.get(name)
        if reader is None:
            raise ContractError("bad-args", f"there is no argument {name!r}")
        arguments[name] = reader(value)
    if len(arguments) != len(readers):
        missing = entry.required - arguments.keys()
        if missing:
            raise ContractError("bad-args", f"without the argument {min(missing)!r}")
    return arguments


def _marks(annotation: Any) -> tuple[str, ...]:
    """The bounds that an argument's type names, if it may be left out or not."""
    if typing.get_origin(annotation) is typing.Annotated:
        return tuple(annotation.__metadata__)
    return tuple([mark for part in typing.get_args(annotation) for mark in _marks(part)])


def _reader(annotation: Any, label: str) -> Reader:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = annotation.__origin__
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, parameters = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union) and len(parameters) == 2 and types.NoneType in parameters:
        kind = parameters[1] if parameters[0] is types.NoneType else parameters[0]
        return _optional(_reader(kind, label))
    if origin is tuple and len(parameters) == 2 and parameters[1] is Ellipsis:
        return _sequence(_reader(parameters[0], label))
    if origin is tuple and parameters and Ellipsis not in parameters:
        return _record(tuple(_reader(parameter, label) for parameter in parameters))
    raise ValueError(f"{label}: the type {annotation!r} cannot be checked")


def _refuse(expected: str, value: Any) -> ContractError:
    return ContractError("bad-args", f"expected {expected}, got {type(value).__name__} {str(value)[:40]!r}")


def _int(value: Any) -> int:
    if type(value) is int and MIN_INT <= value <= MAX_INT:
        return value
    raise _refuse("an integer of 64 bits", value)


def _str(value: Any) -> str:
    if type(value) is str and len(value) <= MAX_STR_CHARACTERS:
        return value
    raise _refuse(f"a string of at most {MAX_STR_CHARACTERS} characters", value)


def _bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    raise _refuse("bytes", value)


def _bool(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise _refuse("a boolean", value)


_SCALARS: dict[Any, Reader] = {int: _int, str: _str, bytes: _bytes, bool: _bool}


def _optional(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


def _sequence(reader: Reader) -> Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list and type(value) is not tuple:
            raise _refuse("an array", value)
        return tuple([reader(item) for item in value])

    return read


def _record(readers: tuple[Reader, ...]) -> Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if (type(value) is not list and type(value) is not tuple) or len(value) != len(readers):
            raise _refuse(f"an array of {len(readers)}", value)
        return tuple([reader(item) for reader, item in zip(readers, value, strict=True)])

    return read
