"""The grid on the ledger: a radial tree of buses in numbered versions, published by the grid operator.

A version never changes. The market pins the newest one when a product opens, so that tolls and limits of an open
product stay what they were. A new version holds every bus of the one before: meters and devices hang on them.

A line's toll is the rate times its metres, plus a step of its own, as a transformer has one.

Where the validators' admins vote, tolls are theirs to raise (``motions.py``): a version that the operator publishes by
itself has no line that costs more than in the version whose tolls were *voted*, at first the genesis', and none that is
new costs more than the voted rate and the highest voted step make. Limits, lines and lower tolls are the operator's.

One transaction holds some thousand lines. The first lines of a larger grid are handed in before, as the operator's
draft; ``publish`` takes them.

The feeder's meter, at the root, has a key; it belongs to the grid operator, who may name another at any time. Another
key is another meter, with registers of its own.

Genesis settings: ``root``: name of the root bus (the transformer); ``rate`` (optional): base units per Wh and metre,
default 0; ``lines``: arrays ``[from, to, metres, step, limit_down_w, limit_up_w]``: parent, child, length in m, step in
base units per Wh, power limits in W from parent to child and from child to parent, or null for none; ``version``
(optional): the number of the first version, default 1; ``feeder_meter`` (optional): its public key, hex.

State: ``grid/`` -> the newest version's number; ``grid/`` version(4) -> (root, rate, number of lines); ``grid/``
version(4), part(2) -> at most ``LINES_OF_A_PART`` lines as in the settings; ``grid-bus/`` bus -> the version that
brought it; ``grid-draft/`` -> number of lines drafted; ``grid-draft/`` part(2) -> lines; ``grid-feeder/`` -> the feeder
meter's key; ``grid-feeder/since`` -> the block time at which it was named, if another had been before; ``grid-voted/``
-> the version whose tolls are the voted ones, once there is more than one version.
"""

import functools
from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import roles, slots
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.subjects import public
from chaincode.tree import GridError, Line, Tree
from chaincode.validators import epoch_count, hex_key

LineSettings: TypeAlias = tuple[str, str, int, int, int | None, int | None]
"""From (parent), to (child), metres, step in base units per Wh, limit_down_w, limit_up_w."""

MAX_LINES: Final = 2_000
MAX_METRES: Final = 1_000_000
MAX_LIMIT_W: Final = 10**12
MAX_BUS: Final = 48
MAX_TOLLS: Final = 2**46
"""All tolls of a grid together, base units per Wh: an indicative price may lie that far from any order's limit."""
MAX_RATE: Final = MAX_TOLLS
LINES_OF_A_PART: Final = 256
"""So that a part, with names and figures at their longest, is below what a transaction may write as one value."""

_FIRST: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_REST: Final = _FIRST + "._/-"
_GRID: Final = b"grid/"
_BUSES: Final = b"grid-bus/"
_DRAFT: Final = b"grid-draft/"
_FEEDER: Final = b"grid-feeder/"
_FEEDER_SINCE: Final = b"grid-feeder/since"
_VOTED: Final = b"grid-voted/"


class Pinned(NamedTuple):
    """One version as the auction wants it. ``tree``'s limits are in Wh per slot; ``buses``: names by index in it."""

    tree: Tree
    buses: tuple[str, ...]
    index_of: dict[str, int]


def current_version(ctx: Context) -> int:
    """The number of the newest version. Raises ContractError("not-configured") without a grid."""
    version = ctx.get(_GRID)
    if not isinstance(version, int):
        raise ContractError("not-configured", "the genesis settings have no grid")
    return version


def pinned(ctx: Context, version: int) -> Pinned:
    """The tree of ``version``. Raises ContractError("unknown-grid")."""
    return build(*_version(ctx, version), slots.seconds(ctx))


def has_bus(ctx: Context, bus: str) -> bool:
    """Whether the newest version has ``bus`` (and so every later one)."""
    return ctx.get(_BUSES + bus.encode()) is not None


def require_bus(ctx: Context, bus: str) -> None:
    """Raises ContractError("unknown-bus")."""
    if not has_bus(ctx, bus):
        raise ContractError("unknown-bus", f"the grid has no bus {bus[:60]!r}")


def feeder_meter(ctx: Context) -> bytes | None:
    """The public key of the meter at the root; None if it has none."""
    return cast("bytes | None", ctx.get(_FEEDER))


def feeder_meter_since(ctx: Context) -> int:
    """The block time at which this meter took the place of another; 0 if it is the first."""
    return cast("int | None", ctx.get(_FEEDER_SINCE)) or 0


@functools.lru_cache(maxsize=16)
def build(root: str, rate: int, lines: tuple[LineSettings, ...], slot_seconds: int) -> Pinned:
    """The tree of a version, whose limits are Wh per slot. Raises what ``Tree.build`` raises.

    A pure function of its arguments, remembered because every auction asks for it.
    """
    tree = Tree.build(
        root,
        [
            Line(parent, child, rate * metres + step, _per_slot(down_w, slot_seconds), _per_slot(up_w, slot_seconds))
            for parent, child, metres, step, down_w, up_w in lines
        ],
    )
    return Pinned(tree, tree.buses, tree.index_of())


def check(root: str, rate: int, lines: tuple[LineSettings, ...]) -> Pinned:
    """What the ledger asks of a version, whoever publishes it; its tree for slots of an hour.

    Raises ContractError: bad-rate, too-many-buses, bad-toll (all together); GridError: bad-bus, bad-limit, bad-metres,
    bad-step, and what ``Tree.build`` raises.
    """
    if not 0 <= rate <= MAX_RATE:
        raise ContractError("bad-rate", f"a rate is 0 to {MAX_RATE} base units per Wh and metre")
    if len(lines) > MAX_LINES:
        raise ContractError("too-many-buses", f"{len(lines)} lines, at most {MAX_LINES}")
    check_bus(root)
    for line in lines:
        check_line(line)
    built = build(root, rate, lines, 3600)
    if sum(built.tree.toll) > MAX_TOLLS:
        raise ContractError("bad-toll", f"the tolls of a grid add up to at most {MAX_TOLLS}")
    return built


def check_bus(name: str, ends: tuple[str, str] | None = None) -> None:
    """A bus's name is part of keys: it has no separator of theirs in it, and is as long in bytes as in letters.

    Raises GridError("bad-bus").
    """
    good = type(name) is str and 0 < len(name) <= MAX_BUS and name[0] in _FIRST
    if not good or not all(letter in _REST for letter in name):
        allowed = f"1 to {MAX_BUS} of A-Z a-z 0-9 . _ / -, the first a letter or digit"
        raise GridError("bad-bus", f"{name!r:.60}: {allowed}", ends)


def check_line(line: LineSettings) -> None:
    """A line by itself: no product or sum of its figures passes 63 bits before it is compared.

    Raises GridError: bad-bus, bad-metres, bad-step, bad-limit.
    """
    parent, child, metres, step, *limits = line
    for bus in (parent, child):
        check_bus(bus, (parent, child))
    of = Line(parent, child, 0)
    if type(metres) is not int or not 0 <= metres <= MAX_METRES:
        raise of.fault("bad-metres", f"0 to {MAX_METRES} m")
    if type(step) is not int or not 0 <= step <= MAX_TOLLS:
        raise of.fault("bad-step", f"a step is 0 to {MAX_TOLLS} base units per Wh")
    if any(limit is not None and (type(limit) is not int or not 0 <= limit <= MAX_LIMIT_W) for limit in limits):
        raise of.fault("bad-limit", f"a limit is 0 to {MAX_LIMIT_W} W, or none")


def with_tolls(
    ctx: Context, rate: int | None, steps: tuple[tuple[str, str, int], ...]
) -> tuple[str, int, tuple[LineSettings, ...]]:
    """(root, rate, lines) of the newest version with another rate, None leaves it, and other steps of lines (from, to).

    Raises ContractError: not-configured, unknown-line (also for one that is named twice), no-change, and what ``check``
    raises.
    """
    root, old_rate, lines = _version(ctx, current_version(ctx))
    named = {(parent, child): step for parent, child, step in steps}
    unknown = [ends for ends in named if ends not in [(line[0], line[1]) for line in lines]]
    if unknown or len(named) < len(steps):
        parent, child = unknown[0] if unknown else steps[0][:2]
        raise ContractError("unknown-line", f"{parent[:60]!r} to {child[:60]!r} is no line, or one is named twice")
    after = tuple([(*line[:3], named.get((line[0], line[1]), line[3]), *line[4:]) for line in lines])
    after_rate = old_rate if rate is None else rate
    if (after_rate, after) == (old_rate, lines):
        raise ContractError("no-change", "these are the tolls already")
    check(root, after_rate, after)
    return root, after_rate, after


def set_tolls(ctx: Context, rate: int | None, steps: tuple[tuple[str, str, int], ...]) -> None:
    """A version with tolls that were voted. Raises ContractError as ``with_tolls``."""
    ctx.put(_VOTED, publish_as(ctx, *with_tolls(ctx, rate, steps)))


def publish_as(ctx: Context, root: str, rate: int, lines: tuple[LineSettings, ...]) -> int:
    """A version whoever it is by, whatever it costs; what was voted stays voted. Returns its number.

    Raises ContractError: not-configured, missing-bus, and as ``check``.
    """
    number = _next_version(ctx, root, lines)
    if ctx.get(_VOTED) is None:
        ctx.put(_VOTED, number - 1)
    _publish(ctx, number, root, rate, lines)
    return number


def _next_version(ctx: Context, root: str, lines: tuple[LineSettings, ...]) -> int:
    """The number of a version with these lines, which keeps every bus. Raises ContractError("missing-bus")."""
    before = current_version(ctx)
    old_root, _, old_lines = _version(ctx, before)
    named = dict.fromkeys((root, *(line[1] for line in lines)))
    missing = [bus for bus in (old_root, *(line[1] for line in old_lines)) if bus not in named]
    if missing:
        raise ContractError("missing-bus", f"a new version keeps every bus; {missing[0]} is gone")
    return before + 1


class Grid(Contract):
    """Publishing and reading the grid."""

    name = "grid"
    standing = (_FEEDER,)

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        if not settings:
            return
        version, rate = settings.get("version", 1), settings.get("rate", 0)
        lines = tuple(cast("LineSettings", line) for line in cast("tuple[Value, ...]", settings["lines"]))
        if type(version) is not int or version < 1 or type(rate) is not int or any(len(line) != 6 for line in lines):
            raise ContractError("bad-settings", "grid: version is a number from 1, rate one, each line has six entries")
        _publish(ctx, version, str(settings["root"]), rate, lines)
        if settings.get("feeder_meter") is not None:
            ctx.put(_FEEDER, hex_key(settings["feeder_meter"]))

    def knows(self, ctx: Context, key: bytes) -> bool:
        return feeder_meter(ctx) == key

    @transaction
    def draft(self, ctx: Context, *, lines: tuple[LineSettings, ...], after: int = 0) -> Value:
        """Keep lines of a version too large for one transaction; returns how many are drafted. Grid operator only.

        ``after``: how many are drafted already; 0 forgets an older draft. Raises ContractError: not-allowed,
        wrong-draft (details: how many are), too-many-buses.
        """
        roles.require_right(ctx, "publish-grid")
        drafted = _drafted(ctx, after) + lines
        if len(drafted) > MAX_LINES:
            raise ContractError("too-many-buses", f"{len(drafted)} lines, at most {MAX_LINES}")
        for line in lines:
            check_line(line)
        _forget_draft(ctx)
        ctx.put(_DRAFT, len(drafted))
        _put_lines(ctx, _DRAFT, drafted)
        return len(drafted)

    @transaction
    def publish(
        self, ctx: Context, *, root: str, lines: tuple[LineSettings, ...], rate: int = 0, drafted: int = 0
    ) -> Value:
        """A new version, for products that open from now on; returns its number. Grid operator only.

        ``drafted``: so many lines of the draft come before ``lines``, all that there are; the draft is gone then.
        Raises ContractError: not-allowed, wrong-draft, missing-bus, toll-too-high (details: the line's toll, and the
        highest that it may have), and what ``check`` raises.
        """
        roles.require_right(ctx, "publish-grid")
        lines = _drafted(ctx, drafted) + lines
        number = _next_version(ctx, root, lines)
        if drafted:
            _forget_draft(ctx)
        check(root, rate, lines)
        if epoch_count(ctx.get):
            _require_voted(ctx, number - 1, rate, lines)
        _publish(ctx, number, root, rate, lines)
        return number

    @transaction
    def set_feeder_meter(self, ctx: Context, *, key: bytes) -> Value:
        """Name the meter at the root, whose readings count from now on. Grid operator only.

        Raises ContractError: not-allowed, bad-key.
        """
        roles.require_right(ctx, "publish-grid")
        roles.check_key(key)
        if feeder_meter(ctx) not in (None, key):
            ctx.put(_FEEDER_SINCE, ctx.time)
        ctx.put(_FEEDER, key)
        ctx.emit("feeder-meter-set", (), key)
        return None

    @query(of=public)
    def version(self, ctx: Context) -> Value:
        """The number of the newest version."""
        return current_version(ctx)

    @query(of=public)
    def tree(self, ctx: Context, *, version: int | None = None) -> Value:
        """(version, root, rate, lines) of a version, the newest if none is named; a line is as in the settings."""
        newest = current_version(ctx)
        number = newest if version is None else version
        if number > newest:
            raise ContractError("unknown-grid", f"the grid has no version {number}")
        return (number, *_version(ctx, number))

    @query(of=public)
    def drafted(self, ctx: Context) -> Value:
        """How many lines are drafted."""
        return ctx.get(_DRAFT) or 0

    @query(of=public)
    def feeder(self, ctx: Context) -> Value:
        """The public key of the meter at the root; None if it has none."""
        return feeder_meter(ctx)


def _require_voted(ctx: Context, before: int, rate: int, lines: tuple[LineSettings, ...]) -> None:
    """Whether no line, by the bus that it leads to, costs more than was voted.

    Raises ContractError("toll-too-high").
    """
    if ctx.get(_VOTED) is None:
        ctx.put(_VOTED, before)
    _, voted_rate, voted = _version(ctx, cast("int", ctx.get(_VOTED)))
    tolls = {line[1]: voted_rate * line[2] + line[3] for line in voted}
    highest = max([line[3] for line in voted], default=0)
    for parent, child, metres, step, *_ in lines:
        toll, most = rate * metres + step, tolls.get(child, voted_rate * metres + highest)
        if toll > most:
            raise ContractError("toll-too-high", f"from {parent} to {child} {most} was voted, not {toll}", (toll, most))


def _version(ctx: Context, version: int) -> tuple[str, int, tuple[LineSettings, ...]]:
    key = _GRID + version.to_bytes(4, "big") if 0 < version < 2**32 else None
    value = None if key is None else ctx.get(key)
    if key is None or value is None:
        raise ContractError("unknown-grid", f"the grid has no version {version}")
    root, rate, count = cast("tuple[str, int, int]", value)
    return root, rate, _get_lines(ctx, key, count)


def _get_lines(ctx: Context, key: bytes, count: int) -> tuple[LineSettings, ...]:
    parts = [ctx.get(key + part.to_bytes(2, "big")) for part in range(_parts(count))]
    return tuple(line for part in cast("list[tuple[LineSettings, ...]]", parts) for line in part)


def _put_lines(ctx: Context, key: bytes, lines: tuple[LineSettings, ...]) -> None:
    for part in range(_parts(len(lines))):
        ctx.put(key + part.to_bytes(2, "big"), lines[part * LINES_OF_A_PART : (part + 1) * LINES_OF_A_PART])


def _parts(count: int) -> int:
    return -(-count // LINES_OF_A_PART)


def _drafted(ctx: Context, expected: int) -> tuple[LineSettings, ...]:
    """The draft's lines; none if none are expected. Raises ContractError("wrong-draft")."""
    if not expected:
        return ()
    count = cast("int", ctx.get(_DRAFT) or 0)
    if count != expected:
        raise ContractError("wrong-draft", f"{count} lines are drafted, not {expected}", (count,))
    return _get_lines(ctx, _DRAFT, count)


def _forget_draft(ctx: Context) -> None:
    for part in range(_parts(cast("int", ctx.get(_DRAFT) or 0))):
        ctx.delete(_DRAFT + part.to_bytes(2, "big"))
    ctx.delete(_DRAFT)


def _publish(ctx: Context, version: int, root: str, rate: int, lines: tuple[LineSettings, ...]) -> None:
    for bus in check(root, rate, lines).buses:
        if ctx.get(_BUSES + bus.encode()) is None:
            ctx.put(_BUSES + bus.encode(), version)
    key = _GRID + version.to_bytes(4, "big")
    ctx.put(key, (root, rate, len(lines)))
    _put_lines(ctx, key, lines)
    ctx.put(_GRID, version)
    ctx.emit("grid-published", (), version)


def _per_slot(limit_w: int | None, slot_seconds: int) -> int | None:
    return None if limit_w is None else limit_w * slot_seconds // 3600
