"""Makes the test vectors in this directory: ``python -m tests.vectors.make`` writes them, and says which have changed.

They come from a real chain in memory, of four epochs, whose keys are made from names: the same code makes the same
bytes. README.md beside this file says what they mean.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import msgpack
import msgspec

from chaincode.governance import Governance
from chaincode.keys import uint
from chaincode.registry import Registry
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.codec import sha256
from node.model.epoch import encode_boundary
from node.model.genesis import Genesis, dump_genesis
from tests.chaincode.town import pem
from tests.ledger.epoch_chains import EpochChain, joining, key_of, make_genesis
from tests.vectors.book import VECTOR, Book
from tests.vectors.certified import OK, Case, case, certificate_cases, certified, epoch_cases, header_cases
from tests.vectors.reads import read_cases

HERE: Final = Path(__file__).parent
ENTRIES: Final = 300


class BookChain(EpochChain):
    """A chain of changing members, whose state is large enough for proofs of several nodes."""

    def __init__(self) -> None:
        genesis = make_genesis()
        settings = {"spare": ["ä", -1, 2**40, None, True], "entries": ENTRIES}
        super().__init__(genesis=msgspec.structs.replace(genesis, contracts={**genesis.contracts, "book": settings}))

    def reopen(self) -> None:
        self.registry = Registry([Governance(), Book()])
        super().reopen()


def grown() -> BookChain:
    """Four epochs: eve is added, ada has a new key, bob leaves."""
    chain = BookChain()
    chain.grow_to(chain.decide("add", "eve", "ada", "bob", "cyd", **joining("eve")))
    rotated = {"public_key": key_of("new ada").public_key, "tls_certificate": pem("new ada").encode()}
    chain.grow_to(chain.decide("rotate", "ada", "bob", "cyd", "dan", "eve", **rotated))
    chain.grow_to(chain.decide("remove", "bob", "ada", "cyd", "dan", "eve") + 2)
    return chain


def genesis_cases(genesis: Genesis) -> list[Case]:
    """Documents, and the chain that they name."""
    document = dump_genesis(genesis)
    content = json.loads(document)

    def edited(**fields: Any) -> str:
        return json.dumps({**content, **fields})

    def chain_of(text: str) -> str:
        return msgspec.json.decode(text, type=Genesis).chain.hex()

    def of_members(members: list[Any]) -> str:
        return edited(members=members)

    plain = document.decode()
    shuffled = json.dumps(dict(reversed(content.items())), ensure_ascii=True)
    members = content["members"]
    good = {
        "as it is given out": plain,
        "other order, spaces and escapes, the same content": shuffled,
        "another name is another chain": edited(name="other"),
        "settings in another order are the same": edited(contracts=dict(reversed(content["contracts"].items()))),
    }
    bad = {
        "not JSON": (plain[:-4], "the document ends too soon"),
        "not an object": ("[]", "it is an array"),
        "a field is missing": (json.dumps({k: v for k, v in content.items() if k != "token"}), "no token"),
        "a field too many": (edited(comment="x"), "nothing may stand in it that the chain's id would not cover"),
        "another format": (edited(format=2), "this verifier reads format 1"),
        "three members": (of_members(members[:3]), "a network has at least four"),
        "a name twice": (of_members([*members, {**members[0], "public_key": "00" * 32}]), "names are distinct"),
        "a key twice": (of_members([*members, {**members[0], "name": "zoe"}]), "a member's votes would count twice"),
        "a key of 31 bytes": (of_members([{**members[0], "public_key": "00" * 31}, *members[1:]]), "no Ed25519 key"),
        "a key that is not hex": (of_members([{**members[0], "public_key": "zz" * 32}, *members[1:]]), "no hex"),
        "an integer beyond 64 bits": (edited(clock_origin=2**64), "it has no encoding"),
    }
    return [
        *[case(name, "", OK, document=text, chain=chain_of(text)) for name, text in good.items()],
        *[case(name, why, "bad-genesis", document=text) for name, (text, why) in bad.items()],
    ]


def proof_cases(chain: BookChain) -> list[Case]:
    """Proofs under the head's root: ``expect`` is "ok" or "bad-proof"; a ``value`` of null says that there is none."""
    ledger = chain.ledger
    root = ledger.head.state_root
    cases: list[Case] = []

    def add(name: str, why: str, expect: str, key: bytes, value: bytes | None, proof: Any, under: bytes = root) -> None:
        shown = None if value is None else value.hex()
        content = {"root": under.hex(), "key": key.hex(), "value": shown, "proof": [node.hex() for node in proof]}
        cases.append(case(name, why, expect, **content))

    for number in (0, 7, ENTRIES - 1):
        key = VECTOR + uint(number)
        add(f"entry {number}", "", OK, key, *ledger.prove(key))
    absent = [VECTOR + uint(ENTRIES + number) for number in range(64)]
    kinds: dict[bool, bytes] = {}
    for key in absent:
        kinds.setdefault(proven_by_leaf(ledger.prove(key)[1], key), key)
    add("absent: there is no child", "", OK, kinds[False], None, ledger.prove(kinds[False])[1])
    add("absent: another entry stands there", "", OK, kinds[True], None, ledger.prove(kinds[True])[1])

    key = VECTOR + uint(7)
    value, proof = ledger.prove(key)
    assert value is not None
    other, _ = ledger.prove(VECTOR + uint(8))
    add("another value", "the leaf is the hash of the value", "bad-proof", key, other, proof)
    add("said to be absent", "the leaf is there", "bad-proof", key, None, proof)
    gone = kinds[True]
    add("said to be present", "there is no such leaf", "bad-proof", gone, value, ledger.prove(gone)[1])
    add("said to be present where there is no child", "there is no such leaf", "bad-proof", kinds[False], value,
        ledger.prove(kinds[False])[1])  # fmt: skip
    add("another's leaf", "the leaf names the key", "bad-proof", gone, *ledger_leaf(chain, gone))
    add("another root", "the first node is not the root's", "bad-proof", key, value, proof, sha256(b"root"))
    add("the last node missing", "the way is not at its end", "bad-proof", key, value, proof[:-1])
    add("the first node missing", "the way begins at the root", "bad-proof", key, value, proof[1:])
    add("a node too many", "nothing follows the leaf", "bad-proof", key, value, (*proof, proof[-1]))
    add("no nodes", "nothing is shown", "bad-proof", key, value, ())
    add("no nodes, said to be absent", "nothing is shown", "bad-proof", kinds[False], None, ())
    add("an empty node", "a node has at least 5 bytes", "bad-proof", key, value, (*proof[:-1], b""))
    for index, node in enumerate(proof):
        broken = bytes([*node[:-1], node[-1] ^ 1])
        add(f"a bit of node {index}", "its hash is another", "bad-proof", key, value,
            (*proof[:index], broken, *proof[index + 1 :]))  # fmt: skip
    inner = b"\x02" + proof[0][1:]
    add("a node of another kind", "a node begins with 1, whatever its hash", "bad-proof", key, value,
        (inner, *proof[1:]), sha256(inner))  # fmt: skip
    long = proof[0] + bytes(32)
    add("a node that is too long", "its bit sets say how long it is", "bad-proof", key, value, (long, *proof[1:]),
        sha256(long))  # fmt: skip
    return cases


def proven_by_leaf(proof: tuple[bytes, ...], key: bytes) -> bool:
    """Whether the way to a key that is absent ends at another's leaf."""
    digit = int(sha256(key).hex()[len(proof) - 1], 16)
    return bool(int.from_bytes(proof[-1][3:5], "big") & (0x8000 >> digit))


def ledger_leaf(chain: BookChain, key: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """The value of the entry that stands where ``key`` would, and the proof."""
    proof = chain.ledger.prove(key)[1]
    hashes = {VECTOR + uint(number): chain.ledger.prove(VECTOR + uint(number)) for number in range(ENTRIES)}
    found = next(value for value, own in hashes.values() if own == proof and value is not None)
    return found, proof


def value_cases() -> list[Case]:
    """Bytes of values of the state: canonical MessagePack, or not."""
    good = [None, False, True, 0, 127, 128, 2**64 - 1, -1, -(2**63), "", "ä", b"", b"\xff" * 300, (), (1, ("a", b"b")),
            tuple(range(16))]  # fmt: skip
    deep: Any = 1
    for _ in range(8):
        deep = (deep,)
    bad = {
        "an integer in a longer form": (b"\xcc\x01", "1 is one byte"),
        "a text in a longer form": (b"\xd9\x01a", "a short text has a short head"),
        "an array in a longer form": (b"\xdc\x00\x00", "an empty array is one byte"),
        "a map": (b"\x80", "there are no maps in the state"),
        "a float": (msgpack.packb(1.0), "there are no floats"),
        "an extension": (msgpack.packb(msgpack.ExtType(1, b"x")), "there are no extensions"),
        "no text": (b"\xa1\xff", "text is UTF-8"),
        "cut short": (b"\x92\x01", "it ends too soon"),
        "something behind it": (b"\x01\x01", "nothing follows"),
        "nothing": (b"", "there is no value"),
        "too deep": (msgpack.packb((deep,)), "arrays are nested 8 deep at most"),
        "an array said to be large": (b"\xdd\xff\xff\xff\xff", "nobody makes room for what is not there"),
    }
    return [
        *[case(f"{value!r:.40}", "", OK, data=msgpack.packb(value).hex()) for value in [*good, deep]],
        *[case(name, why, "bad-value", data=data.hex()) for name, (data, why) in bad.items()],
    ]


def freshness_cases(chain: BookChain) -> list[Case]:
    """Blocks in the order in which a client is shown them; ``not_before``: the oldest time that it accepts then."""
    ledger = chain.ledger
    epochs = ledger.epochs()

    def step(height: int, expect: str = OK, not_before: int | None = None) -> dict[str, Any]:
        block, certificate = ledger.block(height), ledger.certificate(height)
        assert block is not None and certificate is not None
        return {"header": encode_header(block.header).hex(), "certificate": encode_certificate(certificate).hex(),
                "not_before": not_before, "expect": expect}  # fmt: skip

    head = ledger.head
    forked = certified(head, epochs[-1], time=head.time + 1)
    other = {"header": forked[0].hex(), "certificate": forked[1].hex(), "not_before": None, "expect": "forked"}
    rows: list[tuple[str, str, list[dict[str, Any]]]] = [
        ("newer and newer", "the same block twice is no step back", [step(1), step(1), step(5), step(head.height)]),
        ("a step back", "the client has seen a newer one", [step(5), step(4, "stale"), step(6)]),
        ("across epochs", "an epoch's first block is newer than the last of the one before",
         [step(epochs[1].first_height - 1), step(epochs[1].first_height), step(epochs[1].first_height - 1, "stale")]),
        ("too old by the clock", "what is refused is not remembered",
         [step(5, "stale", head.time + 1), step(2, OK, 0), step(5, OK, 5)]),
        ("two blocks at one height", "both are certified: the members have broken the chain",
         [step(head.height), other, step(head.height)]),
    ]  # fmt: skip
    return [{"name": name, "why": why, "steps": steps} for name, why, steps in rows]


def made() -> dict[str, str]:
    """The files by name."""
    chain = grown()
    ledger = chain.ledger
    about = {
        "genesis": dump_genesis(chain.genesis).decode(),
        "chain": chain.genesis.chain.hex(),
        "boundaries": [encode_boundary(boundary).hex() for boundary in ledger.boundaries()],
        "epochs": [
            {"number": epoch.number, "first_height": epoch.first_height, "members": [m.name for m in epoch.members],
             "members_hash": epoch.hash.hex()}
            for epoch in ledger.epochs()
        ],
        "head": {"height": ledger.head.height, "time": ledger.head.time, "hash": ledger.head_hash.hex(),
                 "state_root": ledger.head.state_root.hex()},
    }  # fmt: skip
    files: dict[str, Any] = {
        "chain.json": about,
        "genesis.json": genesis_cases(chain.genesis),
        "epochs.json": epoch_cases(ledger),
        "headers.json": [*certificate_cases(ledger), *header_cases(ledger)],
        "proofs.json": proof_cases(chain),
        "values.json": value_cases(),
        "freshness.json": freshness_cases(chain),
        "reads.json": read_cases(chain.genesis.chain),
    }
    return {name: json.dumps(content, indent=1, ensure_ascii=True) + "\n" for name, content in files.items()}


def main() -> None:
    """Write the files that have changed."""
    for name, text in made().items():
        path = HERE / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"wrote {name}\n")


if __name__ == "__main__":
    main()
