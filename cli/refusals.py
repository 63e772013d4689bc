"""Why the rules refuse a transaction, in people's words and units.

A receipt carries a code and integers alone; which integers, is said where ``chaincode/`` raises the code.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeAlias

from chaincode.budget_contradictions import FAULTS
from chaincode.identity import MAX_AHEAD_SLOTS, MAX_POWER_W
from cli.output import tokens
from cli.units import WH_PER_KWH, clock, kwh

_Words: TypeAlias = Callable[[tuple[int, ...], int], str]

_SENTENCES: Final = {
    "already-credited": "what was redeemed is on a bill already",
    "bad-address": "an address is HOST:PORT with a port from 1 to 65535",
    "bad-account": "between these two nothing moves",
    "bad-agreement": "the cap is above 0, a price too, the rank at most 1000, and the end lies ahead: see "
    "docs/agreements.md",
    "bad-amount": "an amount is above 0 and no more than the ledger counts",
    "bad-certificate": "a TLS certificate is one certificate in PEM, of at most 4096 bytes",
    "bad-class": "a class is 1 to 32 of a-z 0-9 -",
    "bad-key": "a public key is 32 bytes, and somebody's",
    "bad-digest": "a bundle's digest is 32 bytes",
    "bad-entropy": "entropy is 32 bytes",
    "bad-kind": "what is shared is a device's, a network's or a member's",
    "bad-energy": "energy times price is more than the ledger counts",
    "bad-length": "a plan is of 1 to 36 periods",
    "bad-reason": "a reason is printable text of at most 64 bytes",
    "bad-reference": "a reference is 1 to 64 bytes",
    "bad-id": "a name is of a-z 0-9 . / -, at most 48, the first a letter or digit",
    "bad-settings": "no genesis document could have such rules: see docs/rules.md",
    "bad-limit": f"a connection carries 0 to {MAX_POWER_W} W",
    "already-erased": "up to there all is erased already, or older than the chain: see `watt wallet erased`",
    "closed-product": "the slot takes no orders now: see `watt market products` for those that are OPEN",
    "duplicate": "this very order has been placed already",
    "duplicate-agreement": "these two have such an agreement, or one is proposed: see `watt admin agreement list`",
    "duplicate-certificate": "another validator has this TLS certificate",
    "duplicate-key": "another validator has this key",
    "duplicate-name": "there is a validator with this name",
    "duplicate-id": "this name or reference is taken",
    "key-in-use": "this key acts for something already, or enrols something else: take a new one",
    "no-enrolment": "this code has been used, or replaced: ask for another one",
    "final": "the slot cannot change any more",
    "in-arrears": "the network owes the utility: until it has paid it may not sell, give, redeem or return",
    "insufficient-funds": "fewer tokens are available than this needs: see `watt wallet balance`",
    "missing-bus": "a new version keeps every bus that the grid has: see `watt admin grid show`",
    "no-forecast": "no device has a forecast for this period: see `watt wallet forecast`",
    "no-rule": "the policy leaves allocation to the owner: see `allocation` in docs/policies.md",
    "no-upgrade": "this upgrade is not scheduled",
    "no-change": "this is how it is already: nothing would change",
    "no-networks": "the member has no network: tokens would be of no use to it",
    "no-redemption": "the utility redeems nothing now: see `watt admin redemption prices`",
    "no-governance": "the genesis names no admins of validators, so nobody changes the membership or the rules",
    "no-product": "the slot is not open yet, or older than the chain",
    "not-allowed": "the key that signed has not the role that this needs: name another with --key FILE",
    "not-connected": "the device is connected nowhere in this slot",
    "not-final": "the slot can still be corrected: it is FINAL when `watt market products` lists it no more",
    "not-in-force": "the agreement is not in force: only proposed, not begun, or over",
    "not-offered": "the offer has been answered or taken back, or it has lapsed",
    "not-open": "the order is filled, cancelled or expired already",
    "not-parked": "it has been released and done already",
    "not-waiting": "the request has been answered or taken back, or it has lapsed",
    "not-proposed": "the proposal has been answered or taken back, or it has lapsed",
    "not-sold": "nothing has moved that is not paid for",
    "other-class": "the agreement is for networks of one class, and these are not",
    "other-network": "the devices are not all of this network",
    "period-closing": "the period is over and is being closed: see `watt admin period show`",
    "period-over": "the period is closed: see `watt admin period show`",
    "over-budget": "the device's budget does not suffice, and no other of its network helps: see `watt wallet balance`",
    "own-cross": "the network has open orders on the other side at this bus",
    "too-large": "what it does is more than one transaction may tell: name fewer at once",
    "too-few": "there are never fewer than 4 validators: add one first",
    "too-many": "there are as many already as there may be",
    "too-many-proposals": "an admin has at most two open proposals: withdraw one, or wait until it has lapsed",
    "unknown-period": "there is no such period, or it is too far ahead: see `watt admin period show`",
    "unknown-agreement": "there is no agreement with this number: see `watt admin agreement list`",
    "unknown-request": "there is no request with this number: see `watt wallet requests`",
    "unknown-sale": "there is no sale with this number: see `watt admin sale list`",
    "unmetered": "too many readings of the device are missing: it may sell again when its meter has reported them",
    "period-mismatch": "the two periods have no slot in common: see `watt admin company show`",
    "slot-over": "the slot is over, under way while the device hangs somewhere in it, or more than 1,000 slots ahead",
    "unknown-admin": "no admin of the genesis has this key",
    "unknown-alert": "the network has no alert with this number",
    "unknown-grant": "nothing is granted to this key: see `watt wallet access list`",
    "unknown-bus": "the grid has no such bus",
    "unknown-device": "there is no such device",
    "unknown-member": "there is no such member",
    "unknown-network": "there is no such network",
    "unknown-order": "no order has this id",
    "unknown-line": "the grid has no such line, or it is named twice: see `watt admin grid show`",
    "unknown-proposal": "no open proposal has this number: see `watt admin proposals`, `watt admin rules proposals`",
    "unknown-redemption": "nothing was redeemed under this number: see `watt admin redemption list`",
    "unknown-unit": "nothing was parked under this number: see `watt admin settlement parked`",
    "unknown-validator": "there is no such validator: see `watt admin validators`",
    "with-itself": "a network cannot agree on anything with itself",
    "wrong-digest": "the proposal says something else than what was approved: look at it again",
    "wrong-key": "the key that signed may not act for this device or network",
    "wrong-kind": "an agreement is about shares (`watt admin agreement share`) or about sales (`watt admin sale`)",
}


_OF_CALLS: Final = {
    ("budget.allocate_by_forecast", "bad-amount"): "an amount is above 0, and each device is named once",
    ("budget.allocate_by_history", "bad-amount"): "an amount is above 0, and each device is named once",
    ("market.place", "bad-reference"): "an order's reference is at most 32 bytes",
    ("keys.enrol", "bad-signature"): "the new key has not signed for this device and this code",
    ("keys.rotate_admin_key", "duplicate-key"): "another admin of the genesis has this key",
    ("motions.propose_admin_key", "duplicate-key"): "another admin of the genesis has this key",
    ("requests.ask", "bad-account"): "a device asks another one, not itself",
}
"""What a code means of one call."""

_OF_READINGS: Final = {
    "bad-signature": "a row is not signed by its device's meter over exactly these figures, for this chain",
    "conflict": "this slot has another reading: `watt meter correct` replaces it",
    "duplicate": "this slot has this reading already",
    "late": "the slot's metering window is over: until it is FINAL its meter may `watt meter correct`",
    "negative": "energies and registers are not below zero",
    "no-feeder-meter": "the grid operator has named no meter at the transformer: `watt admin grid feeder-meter`",
    "out-of-limit": "more than the device's connection carries in a slot",
    "register-mismatch": "the registers do not join: each is the one a slot before and the slot's own energy",
    "too-early": "the slot is not over",
    "too-many": "this slot has been corrected too often",
    "wrong-key": "not the key of this meter",
}
"""What the same codes mean of readings."""

_OF_THE_FEEDER: Final = {
    "conflict": "this slot has another reading: `watt meter feeder --correct` replaces it",
    "late": "the slot is FINAL",
}
"""What they mean of the feeder's, which another command corrects and no window closes."""


def _price(base_units_per_wh: int, decimals: int) -> str:
    """Exactly, since what is read here is typed again."""
    return f"{(Decimal(base_units_per_wh * WH_PER_KWH).scaleb(-decimals)).normalize():f}"


_WITH_FIGURES: Final[dict[tuple[str, int], _Words]] = {
    ("bad-energy", 1): lambda found, _: f"an order is for at least {found[0]} Wh, unless it undoes a trade",
    ("bad-price", 2): lambda found, decimals: (
        f"the limit lies from {_price(found[0], decimals)} (feed-in) to {_price(found[1], decimals)} (retail) "
        "tokens per kWh in this slot"
    ),
    ("change-pending", 1): lambda found, _: f"another change is scheduled: approve again from height {found[0]} on",
    ("bad-policy", 2): lambda found, _: dict(enumerate(FAULTS.values())).get(found[0], "the policy contradicts itself"),
    ("bad-length", 2): lambda found, _: f"a period is {found[0]:,} to {found[1]:,} slots long",
    ("bad-amount", 1): lambda found, decimals: f"more than 0, and at most the {tokens(found[0], decimals)} asked for",
    ("period-begun", 1): lambda found, _: f"what is planned begins at {clock(found[0])} UTC or later",
    ("period-in-use", 1): lambda found, _: f"there is money in period {found[0]} already: plan from a later one on",
    ("period-overlaps", 2): lambda found, _: (
        f"a period goes from slot {found[0]} to {found[1] - 1}: begin where one begins"
    ),
    ("over-limit", 2): lambda found, decimals: (
        f"the limit leaves room for {tokens(found[0], decimals)} tokens, not {tokens(found[1], decimals)}"
    ),
    ("bad-rows", 2): lambda found, _: f"one transaction takes 1 to {found[0]} rows, not {found[1]}",
    ("conflict", 4): lambda found, _: (
        f"this slot has another reading ({kwh(found[0])} kWh in, {kwh(found[1])} out): `watt meter correct` replaces it"
    ),
    ("duplicate", 4): lambda *_: _OF_READINGS["duplicate"],
    ("late", 1): lambda found, _: (
        f"readings of this slot were taken until {clock(found[0])} UTC; until it is FINAL the meter may correct"
    ),
    ("out-of-limit", 2): lambda found, _: (
        f"the device's connection carries {kwh(found[0])} kWh in a slot, not {kwh(found[1])}"
    ),
    ("too-early", 1): lambda found, _: f"the slot ends at {clock(found[0])} UTC",
    ("over-cap", 2): lambda found, decimals: (
        f"{tokens(found[1], decimals)} of at most {tokens(found[0], decimals)} tokens are issued: `watt admin cap show`"
    ),
    ("price-changed", 2): lambda found, _: (
        f"the utility pays {Decimal(found[0]) / 10:f}% of par now, less than {Decimal(found[1]) / 10:f}%"
    ),
    ("slot-begun", 1): lambda found, _: f"the first slot that has not begun is {found[0]}",
    ("tariff-too-late", 1): lambda found, _: f"the first slot for which a tariff can be published is {found[0]}",
    ("tariff-out-of-bounds", 3): lambda found, decimals: (
        f"from {found[0] // 3600:02}:{found[0] // 60 % 60:02} on retail is at most {_price(found[1], decimals)}, "
        f"feed-in at least {_price(found[2], decimals)} tokens per kWh, as was voted"
    ),
    ("bad-until", 1): lambda found, _: f"a grant ends at {clock(found[0])} at the latest",
    ("slot-over", 1): lambda found, _: (
        f"from slot {found[0]} on it can be moved, at most {MAX_AHEAD_SLOTS:,} slots ahead: the slot is over, or under "
        "way and the device hangs somewhere in it"
    ),
    ("has-fills", 1): lambda found, _: f"the device has traded up to slot {found[0]}",
    ("insufficient-funds", 2): lambda found, decimals: (
        f"{tokens(found[0], decimals)} tokens are available, {tokens(found[1], decimals)} are needed"
    ),
    ("bad-expiry", 1): lambda found, _: f"a code is good until {clock(found[0])} UTC block time at most",
    ("enrolment-over", 1): lambda found, _: (
        f"the code was good until {clock(found[0])} UTC block time: ask for another one"
    ),
    ("lapsed", 1): lambda found, _: f"the proposal could be decided until height {found[0]}: propose it anew",
    ("too-far", 1): lambda found, _: f"the farthest height for a change is {found[0]}",
    ("toll-too-high", 2): lambda found, decimals: (
        f"a line's toll would be {_price(found[0], decimals)} tokens per kWh, {_price(found[1], decimals)} were voted:"
        " to raise tolls takes a vote, `watt admin tolls propose`"
    ),
    ("too-soon", 1): lambda found, _: f"the nearest height for a change is {found[0]}",
    ("wrong-draft", 1): lambda found, _: f"{found[0]} lines are drafted: another program publishes at the same time",
    ("duplicate-agreement", 1): lambda found, _: (
        f"these two have such an agreement, or one is proposed: see `watt admin agreement show {found[0]}`"
    ),
    ("over-cap", 3): lambda found, decimals: (
        f"{tokens(found[0], decimals)} tokens are left of the cap of agreement {found[2]} in this period, not "
        f"{tokens(found[1], decimals)}"
    ),
    ("over-capacity", 2): lambda found, _: (
        f"the device's connection leaves room for {kwh(found[0])} kWh more in this slot, not {kwh(found[1])}"
    ),
}


def explain(call: str, code: str, details: tuple[int, ...], decimals: int) -> str:
    """One sentence. ``call``: contract.method; ``decimals``: of a token. An unknown code keeps its bare figures."""
    if call == "market.place_many" and details:
        return f"order {details[0] + 1} of the list: {explain('market.place', code, details[1:], decimals)}"
    if call.endswith("_feeder") and code in _OF_THE_FEEDER:
        return _OF_THE_FEEDER[code]
    if (call, code) in _OF_CALLS:
        return _OF_CALLS[call, code]
    words = _WITH_FIGURES.get((code, len(details)))
    if words is not None:
        return words(details, decimals)
    if call.startswith("settlement.") and code in _OF_READINGS:
        return _OF_READINGS[code]
    if code in _SENTENCES and not details:
        return _SENTENCES[code]
    figures = f" {list(details)}" if details else ""
    return f"the rules refuse {call}{figures}"
