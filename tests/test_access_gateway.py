"""What a gateway tells whom of a busy day: no query, no proof and no event gives anybody what is another's."""

import functools
import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.ballot import NOTICE
from chaincode.contract import ContractError, Event
from chaincode.events import CLOSED, EVENTS, PUBLIC
from chaincode.pseudonyms import SECRETS
from chaincode.registry import default_registry
from node.errors import RefusedError
from node.gateway.access import Access
from node.gateway.answers import BlockEvents, block_events
from node.gateway.telling import Told
from node.limits import QUERY_ROWS, QUERY_STEPS
from node.model.codec import encode
from node.model.genesis import Member
from node.model.keys import SigningKey
from node.model.transaction import Transaction
from protos import gateway_pb2 as pb
from tests.chaincode.busy_chain import ADMINS, HOMES, KEYS, BusyChain, busy_day
from tests.chaincode.market_chain import MEMBERS, MarketChain
from tests.chaincode.marketplace import DEVICES
from tests.chaincode.town import pem
from tests.test_architecture import ROOT

STRANGER = SigningKey(bytes(31) + b"\x77").public_key
FRIEND = SigningKey(bytes(31) + b"\x78").public_key
PUBLIC_KEYS = {name: key.public_key for name, key in KEYS.items()}
NAMES = {name.encode() for name in (*DEVICES, *HOMES)}
SECRET_TABLES = tuple(SECRETS)


class Certified(BusyChain):
    """The same street, whose validators have certificates: they can change."""

    def __init__(self) -> None:
        super().__init__()
        members = tuple(Member(each.name, each.public_key, pem(each.name)) for each in self.genesis.members)
        MarketChain.__init__(self, msgspec.structs.replace(self.genesis, members=members))
        self.nonces = dict.fromkeys(KEYS, 0)


@functools.cache
def day() -> tuple[BusyChain, Access]:
    """A chain after a day that began with a member's entropy, on which home-1 shares its orders with a friend."""
    chain = BusyChain()
    chain.commit(chain.execute(0, [chain.tx("club", "privacy", "add_entropy", entropy=bytes(range(32)))]))
    leave = {"kind": "network", "name": "home-1", "reader": FRIEND, "classes": ["market"], "until": 300_000}
    chain.commit(chain.execute(0, [chain.tx("home-1", "grants", "grant", **leave)]))
    for time, batch in itertools.islice(busy_day(chain, 7, blocks=60), 70):
        chain.commit(chain.execute(time, batch))
    return chain, Access(chain.ledger, chain.executor)


def blocks(reader: bytes) -> Iterator[tuple[bytes, BlockEvents]]:
    """Every block as ``reader`` gets it: its bytes, and what they say."""
    chain, access = day()
    for height in range(1, chain.ledger.head.height + 1):
        block = chain.ledger.block(height)
        assert block is not None
        told = Told(block, chain.ledger.receipts(height), chain.ledger.events(height))
        raw = told.to(reader, access)
        yield raw, block_events(pb.BlockEvents.FromString(raw))


def all_events() -> list[list[Event]]:
    chain, _ = day()
    return [list(chain.ledger.events(height)) for height in range(1, chain.ledger.head.height + 1)]


def test_every_topic_is_declared() -> None:
    topics = set()
    for path in (ROOT / "chaincode").glob("*.py"):
        text = path.read_text()
        topics |= {part.partition('"')[0] for part in text.split('ctx.emit("')[1:]}
    assert topics <= set(EVENTS) | set(CLOSED)
    assert not set(EVENTS) & set(CLOSED)


@pytest.mark.parametrize("reader", [b"", STRANGER, PUBLIC_KEYS["utility"]])
def test_strangers_see_orders_and_fills_under_pseudonyms_and_no_name_at_all(reader: bytes) -> None:
    """Checklist 4."""
    seen: dict[str, int] = {}
    for (raw, block), whole in zip(blocks(reader), all_events(), strict=True):
        assert not [name for name in NAMES if name in raw]
        hidden = [event for event in whole if event.topic in ("order", "fill")]
        shown = [event for event in block.events if event.topic in ("order", "fill")]
        assert len(hidden) == len(shown)
        for true, public in zip(hidden, shown, strict=True):
            assert isinstance(true.data, tuple) and isinstance(public.data, tuple)
            assert true.data[1:] == public.data[1:] and true.data[0] != public.data[0]
            assert isinstance(true.data[0], bytes) and true.data[0] not in raw
            (pseudonym,) = public.keys
            assert len(pseudonym) == 16 and pseudonym not in true.keys
            seen[pseudonym] = seen.get(pseudonym, 0) + 1
        rest = {event.topic for event in block.events} - {"order", "fill"}
        assert all(EVENTS[topic] == PUBLIC for topic in rest)
    assert 1 < len(seen) <= len(DEVICES) * 20  # one for each device and period of the day


def test_validators_and_their_admins_see_everything() -> None:
    for key in (MEMBERS[0].public_key, PUBLIC_KEYS[ADMINS[2]]):
        assert [list(block.events) for _, block in blocks(key)] == all_events()


@pytest.mark.parametrize("who", ["home-1", "home-1/load", "home-3", "club"])
def test_everybody_sees_the_own_in_full_in_its_place(who: str) -> None:
    """Whose an event is: its keys name the device, or the network that the key owns."""
    own = {"home-1", "home-1/load", "home-1/battery"} if who == "home-1" else {who}
    own = {"home-3", "home-3/pv", "home-3/ev"} if who == "home-3" else own
    own = {*DEVICES, *HOMES} if who == "club" else own
    mine = 0
    for (raw, block), (_, public), whole in zip(blocks(PUBLIC_KEYS[who]), blocks(b""), all_events(), strict=True):
        expected, strangers = [], list(public.events)
        for event in whole:
            shown = strangers.pop(0) if event.topic in ("order", "fill") or EVENTS.get(event.topic) == PUBLIC else None
            is_mine = bool(own.intersection(event.keys)) and event.topic in EVENTS
            mine += is_mine
            if is_mine or shown is not None:
                expected.append(event if is_mine else shown)
        assert list(block.events) == expected
        if who == "home-1":
            assert not [name for name in NAMES if name in raw and not name.startswith(b"home-1")]
    assert mine > 10


def test_leave_opens_its_classes_alone() -> None:
    topics = set()
    for _, block in blocks(FRIEND):
        for event in block.events:
            if set(event.keys) & {"home-1", "home-1/load", "home-1/battery"}:
                topics.add(event.topic)
            assert not {name.encode() for name in event.keys} & {n for n in NAMES if not n.startswith(b"home-1")}
    assert topics == {"order", "fill"}


def test_admins_see_the_registry_and_no_more() -> None:
    topics = {event.topic for _, block in blocks(PUBLIC_KEYS["admin"]) for event in block.events if event.keys}
    assert {EVENTS[topic] for topic in topics - {"order", "fill"}} <= {"registry", PUBLIC}
    assert "device-moved" in topics


def test_a_validator_sees_everything_from_its_proposal_on_and_no_more_once_it_is_removed() -> None:
    chain = Certified()
    access = Access(chain.ledger, chain.executor)
    node, admin = (SigningKey(bytes(31) + bytes([number])).public_key for number in (0x51, 0x52))
    fifth = {"public_key": node, "admin_key": admin, "tls_certificate": pem("fifth").encode(), "address": "127.0.0.1:1"}

    def seen() -> tuple[bool, bool]:
        return access.sees_all(node), access.sees_all(admin)

    def block(*transactions: Transaction) -> None:
        chain.commit(chain.execute(0, list(transactions)))
        assert [receipt.code for receipt in chain.ledger.receipts(chain.ledger.head.height)] == ["ok"] * len(
            transactions
        )

    def decide(kind: str, **change: Any) -> int:
        """Let three admins decide it; the height from which on it holds."""
        first = chain.ledger.head.height + 3 + NOTICE
        wanted = {"kind": kind, "name": "fifth", "first_height": first, **change}
        block(chain.tx(ADMINS[0], "governance", "propose", **wanted))
        told = [each.data for each in chain.ledger.events(first - NOTICE - 2) if each.topic == "membership-proposed"]
        assert isinstance(told[0], tuple)
        number, digest = told[0][0], told[0][3]
        assert seen() == (True, kind == "remove")
        block(*[chain.tx(name, "governance", "approve", proposal=number, digest=digest) for name in ADMINS[1:3]])
        if kind == "remove":
            block(chain.tx(ADMINS[3], "governance", "approve", proposal=number, digest=digest))
        assert seen() == (True, True)
        return first

    def go_to(height: int) -> None:
        while chain.ledger.head.height + 1 < height:
            block()

    assert seen() == (False, False)
    go_to(decide("add", **fifth))
    assert seen() == (True, True)
    go_to(decide("remove") - 1)
    assert seen() == (True, True)
    block()
    assert seen() == (False, False)


def test_what_is_told_once_follows_what_is_granted_and_what_ends() -> None:
    chain = BusyChain()
    access = Access(chain.ledger, chain.executor)
    chain.commit(
        chain.execute(0, [chain.tx("utility", "budget", "issue", network="home-1", period=0, amount=9, reference=b"1")])
    )
    block = chain.ledger.block(1)
    assert block is not None
    told = Told(block, chain.ledger.receipts(1), chain.ledger.events(1))

    def sees() -> bool:
        return b"transfer" in told.to(FRIEND, access)

    assert not sees() and b"transfer" in told.to(PUBLIC_KEYS["home-1"], access)
    leave = {"kind": "network", "name": "home-1", "reader": FRIEND, "classes": ["budget"], "until": 50}
    for time, batch, expected in (
        (10, [chain.tx("home-1", "grants", "grant", **leave)], True),
        (50, [], True),
        (51, [], False),
        (52, [chain.tx("home-1", "grants", "grant", **{**leave, "until": 99})], True),
        (53, [chain.tx("home-1", "grants", "revoke", kind="network", name="home-1", reader=FRIEND)], False),
    ):
        execution = chain.execute(time, batch)
        chain.commit(execution)
        access.committed(execution.changes)
        assert sees() is expected


# Queries. Every one is asked with everything that there is on the chain.

QUERIES = [
    (contract.name, name, tuple(inspect.signature(getattr(contract, name)).parameters.values())[1:])
    for contract in default_registry().contracts
    for name in dir(contract)
    if getattr(getattr(contract, name), "chaincode_kind", "") == "query"
]


def arguments(asked: inspect.Parameter, chain: BusyChain) -> st.SearchStrategy[Any]:
    """Values for an argument: those that exist, mostly."""
    orders = [order for _, order in chain.orders]
    choices: dict[str, list[Any]] = {
        "device": list(DEVICES),
        "network": list(HOMES),
        "member": ["club", "utility"],
        "name": [*DEVICES, *HOMES, "club"],
        "kind": ["device", "network", "member", "company"],
        "order": orders,
        "key": list(PUBLIC_KEYS.values()),
        "account": [
            f"{kind}:{name}:0" for kind in ("device", "pool", "company") for name in (*DEVICES, *HOMES, "club")
        ],
        "one_time_key": [bytes(32)],
        "epoch": [None, 0],
        "version": [None, 0, 1],
        "slot": list(range(12)),
        "last_slot": [5, 100],
        "end_slot": [5, 100],
    }
    others = [b"", bytes(32)] if asked.annotation is bytes else [0, 1, 2]
    return st.sampled_from(choices.get(asked.name, others))


NAMES_PARTNERS = {
    *(("origin", method) for method in ("slot", "slots", "device", "lots", "given")),  # whose sun it was
    ("statements", "origins"),
    ("statements", "contracts"),  # with whom each trade was
}
"""The queries by which a home learns the names of those with whom it has traded, and their orders that were filled."""


@given(st.data())
def test_no_answer_and_no_proof_gives_a_stranger_a_name_or_a_key(data: st.DataObject) -> None:
    """Checklist 4."""
    chain, access = day()
    contract, method, parameters = data.draw(st.sampled_from(QUERIES))
    args = {each.name: data.draw(arguments(each, chain)) for each in parameters}
    proven = data.draw(st.booleans())
    reader = data.draw(st.sampled_from([b"", STRANGER, FRIEND, PUBLIC_KEYS["home-1"]]))
    is_stranger = reader in (b"", STRANGER)
    own = b"home-1" if reader in (FRIEND, PUBLIC_KEYS["home-1"]) else b"nobody"
    try:
        access.require_query(reader, contract, method, args, proven=proven)
    except RefusedError as refusal:
        assert refusal.code == ("not-allowed" if reader else "sign-first")
        return
    called = (contract, method, args)
    try:
        if proven:
            assert not is_stranger, "digests of entries beside are in every proof"
            value, reads = chain.executor.query_proven(*called, steps=QUERY_STEPS, rows=QUERY_ROWS)
            told = encode(value) + b"".join([key + (entry or b"") for key, entry, _ in reads])
            keys = [key for key, _, _ in reads]
            assert not [key for key in keys if key.startswith(SECRET_TABLES)]
            assert not [key for key in keys if any(name in key for name in NAMES if not name.startswith(own))]
        else:
            told = encode(chain.executor.query(*called, steps=QUERY_STEPS, rows=QUERY_ROWS))
    except ContractError:
        return
    others = {name for name in NAMES if not name.startswith(own)}
    if (contract, method) not in NAMES_PARTNERS:
        assert not [name for name in others if name in told]
    held = {PUBLIC_KEYS[name.decode()] for name in others}
    held |= {PUBLIC_KEYS[f"meter {name}"] for name in DEVICES if not name.encode().startswith(own)}
    assert not [key for key in held if key in told]


def test_nobody_goes_on_from_anothers_order() -> None:
    """Answers come in parts, and whoever asks says where to go on: from another's order it would be all of its."""
    chain, access = day()
    own, foreign = (
        [order for device, order in chain.orders if device == name] for name in ("home-1/load", "home-2/load")
    )
    key = PUBLIC_KEYS["home-1/load"]
    kept = [order for order in (*own, *foreign) if chain.ledger.state.get(b"order/" + order) is not None]
    for order in (b"", *kept):
        for contract, method, args in (
            ("market", "orders", {"slot": 1, "before": order}),
            ("statements", "contracts", {"first_slot": 0, "end_slot": 9, "order": order}),
        ):
            asked = (key, contract, method, {"device": "home-1/load", **args})
            if order in foreign:
                for proven in (False, True):
                    with pytest.raises(RefusedError, match="not-allowed"):
                        access.require_query(*asked, proven=proven)
            else:
                access.require_query(*asked, proven=True)
    assert set(kept) & set(foreign) and set(kept) & set(own)


def test_proofs_are_for_those_who_are_somebody_here() -> None:
    _, access = day()
    for reader, code in ((b"", "sign-first"), (STRANGER, "not-allowed"), (bytes(32), "not-allowed")):
        access.require_query(reader, "market", "product", {"slot": 1}, proven=False)
        with pytest.raises(RefusedError) as caught:
            access.require_query(reader, "market", "product", {"slot": 1}, proven=True)
        assert caught.value.code == code
    for reader in (FRIEND, PUBLIC_KEYS["home-2/load"], PUBLIC_KEYS["club"], MEMBERS[1].public_key):
        access.require_query(reader, "market", "product", {"slot": 1}, proven=True)


@given(st.data())
def test_what_does_not_exist_is_refused_like_what_is_anothers(data: st.DataObject) -> None:
    """Checklist 4: names, numbers and ids that are guessed say nothing, not even whether there is such a thing."""
    chain, access = day()
    contract, method, parameters = data.draw(st.sampled_from(QUERIES))
    args = {each.name: data.draw(arguments(each, chain)) for each in parameters}
    guessed = {
        name: "nobody" if name in ("device", "network", "name") else bytes(32) if name == "order" else value
        for name, value in args.items()
    }

    def answer(asked: dict[str, Any], reader: bytes) -> str:
        try:
            access.require_query(reader, contract, method, asked, proven=False)
        except RefusedError as refusal:
            return f"{refusal.code} {refusal.message}"
        return "allowed"

    for reader in (b"", STRANGER):
        assert answer(args, reader) == answer(guessed, reader)


def test_an_order_has_an_id_that_cannot_be_worked_out_from_what_is_public() -> None:
    """Without the period's secret the id would follow from names, which are few, and what is public."""
    chain, _ = day()
    entry = next(chain.ledger.state.scan(SECRETS[1], SECRETS[1] + b"\xff"))
    assert isinstance(entry[1], bytes) and len(entry[1]) == 32
    with pytest.raises(ContractError, match="not-provable"):
        chain.executor.query_proven("privacy", "pseudonym", {"device": "home-1/load", "slot": 0})
    answer = chain.executor.query("privacy", "pseudonym", {"device": "home-1/load", "slot": 0})
    assert isinstance(answer, tuple)
    assert answer[0] == 0 and isinstance(answer[1], str) and len(answer[1]) == 16
