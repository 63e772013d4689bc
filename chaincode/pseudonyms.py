"""Names under which devices trade in public: another one in every billing period, that only validators can resolve.

The pseudonym of a device in a period of the consortium is the beginning of a hash of the period's secret and the
device's name. Orders' ids are hashed with that secret, too: names are few, and whoever could try them all would find
whose an order is.

The *secret* grows from what members throw in, 32 random bytes at a time, each a transaction of its own. One honest
member is enough: whoever has not seen all of them cannot guess the result, and bodies of blocks are for validators and
auditors. A period's own secret is made of it, and of what the chain's signatures hide (``Context.blind``), with the
first order of the period, and stays: what comes later counts from the next period on. Until the first entropy there
are no pseudonyms: events then name nobody at all.

Validators hold the secret, for they must all make the same ids; no query reads it in a way that could be proven, since
a proof would hold it.

State: ``privacy-secret/`` -> the secret; ``privacy-period/`` period(8) -> the period's.
"""

from hashlib import sha256
from typing import Final, cast

from chaincode import budget_calendar, identity, roles
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.keys import uint
from chaincode.market_products import MAX_SLOT
from chaincode.subjects import MARKET, a_device, public
from chaincode.validators import epoch_count, epoch_in_force

ENTROPY_BYTES: Final = 32
PSEUDONYM_BYTES: Final = 8
SECRETS: Final = (b"privacy-secret/", b"privacy-period/")
"""The tables that no client sees, whoever it is."""

_SECRET, _PERIODS = SECRETS
_TAG_ENTROPY: Final = b"watt/entropy/1\0"
_TAG_PERIOD: Final = b"watt/period-secret/1\0"
_TAG_PSEUDONYM: Final = b"watt/pseudonym/1\0"


class Privacy(Contract):
    """Throwing in entropy, and asking for one's own pseudonym."""

    name = "privacy"

    @transaction
    def add_entropy(self, ctx: Context, *, entropy: bytes) -> Value:
        """Stir 32 random bytes into the secret; it counts from the first period on that has no order yet. By a member,
        or the admin of a validator. Raises ContractError: not-allowed, bad-entropy.
        """
        _require_member(ctx)
        if len(entropy) != ENTROPY_BYTES:
            raise ContractError("bad-entropy", f"entropy is {ENTROPY_BYTES} random bytes")
        ctx.put(_SECRET, sha256(_TAG_ENTROPY + cast("bytes", ctx.get(_SECRET) or b"") + entropy).digest())
        ctx.emit("entropy-added", (), None)
        return None

    @query(of=public)
    def is_secret(self, ctx: Context) -> Value:
        """Whether anybody has thrown in entropy, so that orders of new periods have pseudonyms. Cannot be proven."""
        return any(True for _ in ctx.scan(_SECRET))

    @query(of=a_device(MARKET))
    def pseudonym(self, ctx: Context, *, device: str, slot: int) -> Value:
        """(the consortium's period of the slot, the device's pseudonym in it, "" while it has none). Cannot be proven.

        Raises ContractError: unknown-device, bad-args.
        """
        identity.device_of(ctx, device)
        if not 0 <= slot <= MAX_SLOT:
            raise ContractError("bad-args", "there is no such slot")
        period = budget_calendar.common_period(ctx, slot)
        for _, secret in ctx.scan(_PERIODS + uint(period)):  # a scan has no proof, which would hold the secret
            return period, pseudonym(cast("bytes", secret), period, device)
        return period, ""


def secret_of(ctx: Context, period: int) -> bytes:
    """The secret of a period; empty before its first order, and where there is none."""
    return cast("bytes | None", ctx.get(_PERIODS + uint(period))) or b""


def pseudonym(secret: bytes, period: int, device: str) -> str:
    """The device's pseudonym in the period of the consortium whose ``secret`` it is: 16 hex digits."""
    return sha256(_TAG_PSEUDONYM + secret + uint(period) + device.encode()).hexdigest()[: 2 * PSEUDONYM_BYTES]


def pin(ctx: Context, period: int) -> bytes:
    """The same, made now if this is the period's first order and anybody has thrown in entropy."""
    known = secret_of(ctx, period)
    if known:
        return known
    secret = cast("bytes | None", ctx.get(_SECRET))
    if secret is None:
        return b""
    pinned = sha256(_TAG_PERIOD + secret + uint(period) + ctx.blind).digest()
    ctx.put(_PERIODS + uint(period), pinned)
    return pinned


def _require_member(ctx: Context) -> None:
    """The sender is a member, or decides for a validator."""
    is_member = bool(roles.members_of(ctx, ctx.sender))
    seats = epoch_in_force(ctx).seats if epoch_count(ctx.get) else ()
    keys = {"member": [ctx.sender] if is_member else [], "validator-admin": [seat.admin_key for seat in seats]}
    roles.require_right(ctx, "add-entropy", keys)
