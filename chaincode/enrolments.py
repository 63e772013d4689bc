"""What keys agree to, and enrolments: a one-time key waits to name the key of what has none.

A key acts for nothing unless it has signed that it does: whoever registers a key, or puts it in another's place, hands
in its *proof*. So nobody's key can be given uses that its holder does not want, nor be taken by another before its
holder has come to use it. Only the genesis document and votes of the validators' admins name keys without.

The one-time key is made by whoever registers the device, or resets a lost key, and handed over as a code (on paper, or
as a picture). Whoever holds it makes a key of its own where it is to be used, and names it with a call signed by the
one-time key (``key_changes.py``), which is dead then. It acts for nothing else: it is no use of any key
(``roles.add_use``), and what acts for somebody cannot be one. A subject has one enrolment at most: another one, or
another key, ends it. An enrolment that is over stays on record until then, and lets nobody in.

State: that of ``roles.one_time_of``; ``key-enrolment/`` kind NUL id NUL -> the one-time key.
"""

from typing import Final, cast

from chaincode import keys, roles
from chaincode.contract import Context, ContractError

DEVICE: Final = "device"
METER: Final = "meter"
NETWORK: Final = "network"
MEMBER: Final = "member"
KINDS: Final = (DEVICE, METER, NETWORK, MEMBER)
"""What has a key that can be enrolled or changed: a device, its meter, a network's owner, a member."""

MAX_ENROLMENT_S: Final = 30 * 24 * 3600
"""For how long, in block time, a one-time key may wait."""

_ENROLMENTS: Final = b"key-enrolment/"
_ACTS: Final = b"watt/key-change/1\0"
_ENROLS: Final = b"watt/one-time-key/1\0"


def possession_message(chain: bytes, kind: str, name: str, by: bytes, key: bytes) -> bytes:
    """What a new ``key`` signs to show that somebody holds it, and means to act for ``name``; ``by``: the key that
    signs the call."""
    return _ACTS + chain + keys.text(kind) + keys.text(name) + by + key


def one_time_message(chain: bytes, kind: str, name: str, by: bytes, key: bytes) -> bytes:
    """What a one-time ``key`` signs to show that it is held by who makes the code, to enrol a key of ``name``; ``by``:
    the key that signs the call."""
    return _ENROLS + chain + keys.text(kind) + keys.text(name) + by + key


def require_possession(ctx: Context, kind: str, name: str, key: bytes, proof: bytes) -> None:
    """Raises ContractError: bad-key, bad-signature."""
    roles.check_key(key)
    if not ctx.verify(key, possession_message(ctx.chain, kind, name, ctx.sender, key), proof):
        raise ContractError("bad-signature", f"the key has not signed that it is to act for {kind} {name}")


def begin(ctx: Context, kind: str, name: str, one_time_key: bytes, until: int, proof: bytes) -> None:
    """``one_time_key`` may name the key of ``name`` until block time ``until``. ``proof``: its signature over
    ``one_time_message``.

    Raises ContractError: bad-key, bad-signature, bad-expiry (details: the latest), key-in-use.
    """
    roles.check_key(one_time_key)
    if not ctx.verify(one_time_key, one_time_message(ctx.chain, kind, name, ctx.sender, one_time_key), proof):
        raise ContractError("bad-signature", f"the one-time key has not signed that it is to enrol {kind} {name}")
    if not ctx.time < until <= ctx.time + MAX_ENROLMENT_S:
        latest = ctx.time + MAX_ENROLMENT_S
        raise ContractError("bad-expiry", f"after block time {ctx.time}, at most until {latest}", (latest,))
    end(ctx, kind, name)
    if roles.acts(ctx, one_time_key) or roles.one_time_of(ctx, one_time_key) is not None:
        raise ContractError("key-in-use", "a one-time key acts for nothing, and enrols one thing")
    roles.set_one_time(ctx, one_time_key, (kind, name, until))
    ctx.put(keys.key(_ENROLMENTS, kind, name), one_time_key)


def end(ctx: Context, kind: str, name: str) -> None:
    """The enrolment of ``name``, if there is one, is over: its one-time key is dead."""
    one_time_key = waiting(ctx, kind, name)
    if one_time_key is not None:
        roles.set_one_time(ctx, one_time_key, None)
        ctx.delete(keys.key(_ENROLMENTS, kind, name))


def make_room(ctx: Context, key: bytes) -> None:
    """If ``key`` waits to enrol something, it waits no more. For a key that was voted: what is decided comes about,
    whatever its holder has agreed to meanwhile."""
    found = roles.one_time_of(ctx, key)
    if found is not None:
        end(ctx, *found[:2])


def waiting(ctx: Context, kind: str, name: str) -> bytes | None:
    """The one-time key that waits to enrol ``name``, or None; it may be too late for it."""
    return cast("bytes | None", ctx.get(keys.key(_ENROLMENTS, kind, name)))
