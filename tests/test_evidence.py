"""Evidence of signed lies: what proves something, what does not, and the files that a node keeps of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.consensus import lies
from node.consensus.messages import Evidence, Signed
from node.consensus.statements import (
    Commit,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Statement,
    Suspect,
    ViewChange,
    encode_statement,
)
from node.errors import RefusedError
from node.evidence import EvidenceFile, EvidenceFiles, Said, check_evidence, dump_evidence, parse_evidence
from node.model.block import Batch, decode_batch, encode_batch
from node.model.certificate import Certificate, encode_certificate
from node.model.genesis import Genesis, Member, Token
from node.model.keys import SigningKey
from node.model.transaction import sign_transaction
from tests.ledger.epoch_chains import NAMES, EpochChain, key_of, make_genesis

KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]
GENESIS = Genesis(
    format=1,
    name="evidence",
    token=Token("kWh", 9, 1_000_000),
    members=tuple(Member(f"node-{index}", key.public_key.hex(), "PEM") for index, key in enumerate(KEYS)),
    clock_origin=0,
    time_origin=0,
    time_scale=1,
    contracts={},
)
A, B = b"a" * 32, b"b" * 32


def say(member: int, statement: Statement, chain: bytes = GENESIS.chain) -> Signed:
    data = encode_statement(statement, chain, 0)
    return Signed(member, data, KEYS[member].sign(data))


def evidence(kind: str, *statements: Signed, attachment: bytes = b"", **changes: Any) -> EvidenceFile:
    member = statements[0].sender
    document = EvidenceFile(
        format=1,
        kind=kind,
        chain=GENESIS.chain.hex(),
        epoch=0,
        member=member,
        name=f"node-{member}",
        statements=tuple(Said(each.data, each.signature) for each in statements),
        attachment=attachment,
    )
    return msgspec.structs.replace(document, **changes)


def prepared(view: int, height: int, digest: bytes) -> PreparedCertificate:
    primary = view % 4
    backups = [member for member in range(4) if member != primary][:2]
    votes = tuple((m, say(m, Prepare(view, height, digest)).signature) for m in backups)
    return PreparedCertificate(view, height, digest, say(primary, PrePrepare(view, height, digest)).signature, votes)


def certified(view: int, height: int, block_hash: bytes, voters: tuple[int, ...] = (0, 1, 3)) -> Certificate:
    votes = tuple((m, say(m, Commit(view, height, block_hash)).signature) for m in voters)
    return Certificate(0, view, height, block_hash, votes)


def new_view(view: int, proposals: tuple[tuple[int, bytes], ...] = (), change: ViewChange | None = None) -> NewView:
    """What the primary of ``view`` shows: three ViewChanges, the first as given, and its proposals."""
    plain = ViewChange(view, None, ())
    changes = (say(0, change or plain), say(1, plain), say(2, plain))
    signed = tuple((h, digest, say(view % 4, PrePrepare(view, h, digest)).signature) for h, digest in proposals)
    return NewView(view, changes, signed)


def batch(sender: SigningKey, chain: bytes = GENESIS.chain, forge: bool = False) -> tuple[bytes, bytes]:
    """(encoded batch of one payment, its digest)."""
    raw = sign_transaction(sender, chain, 1, "bank", "pay", {}, 100).raw
    raw = bytes([raw[0] ^ 1]) + raw[1:] if forge else raw
    encoded = encode_batch(Batch(GENESIS.chain, 0, 0, 1, (raw,)))
    return encoded, decode_batch(encoded).digest


def proposed(raw_and_digest: tuple[bytes, bytes]) -> EvidenceFile:
    raw, digest = raw_and_digest
    return evidence(lies.FALSE_PROPOSAL, say(0, PrePrepare(0, 3, digest)), attachment=raw)


LIES: dict[str, EvidenceFile] = {
    "two proposals": evidence(lies.TWO_VOTES, say(0, PrePrepare(0, 3, A)), say(0, PrePrepare(0, 3, B))),
    "two prepares": evidence(lies.TWO_VOTES, say(2, Prepare(0, 3, A)), say(2, Prepare(0, 3, B))),
    "two commits": evidence(lies.TWO_VOTES, say(2, Commit(0, 3, A)), say(2, Commit(0, 3, B))),
    "two view changes": evidence(
        lies.TWO_VOTES, say(2, ViewChange(1, None, ())), say(2, ViewChange(1, None, (prepared(0, 1, A),)))
    ),
    "two new views": evidence(lies.TWO_VOTES, say(1, new_view(1)), say(1, new_view(1, ((1, A),)))),
    "a vote left out": evidence(lies.OMITTED_PREPARED, say(2, Commit(1, 3, A)), say(2, ViewChange(2, None, ()))),
    "an older certificate shown": evidence(
        lies.OMITTED_PREPARED, say(2, Commit(1, 3, A)), say(2, ViewChange(2, None, (prepared(0, 3, B),)))
    ),
    "a view that swaps a batch": evidence(
        lies.FALSE_NEW_VIEW, say(1, new_view(1, ((1, B),), ViewChange(1, None, (prepared(0, 1, A),))))
    ),
    "a view of its own making": evidence(lies.FALSE_NEW_VIEW, say(1, new_view(1, ((1, A),)))),
    "a certificate without a quorum": evidence(
        lies.FALSE_VIEW_CHANGE, say(2, ViewChange(1, certified(0, 3, A, (0, 1)), ()))
    ),
    "a forged transaction": proposed(batch(KEYS[3], forge=True)),
    "a foreign transaction": proposed(batch(KEYS[3], chain=b"x" * 32)),
    "another block": evidence(
        lies.WRONG_BLOCK, say(2, Commit(0, 3, B)), attachment=encode_certificate(certified(0, 3, A))
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_proven_to_whoever_has_the_genesis(name: str) -> None:
    """Checklist 5: through the file, as somebody else reads it."""
    document = parse_evidence(dump_evidence(LIES[name]), "file")
    found = check_evidence(document, GENESIS)
    assert (found.kind, found.name, found.epoch) == (document.kind, document.name, 0)
    assert found.what.startswith(document.name)


NOTHING: dict[str, tuple[str, EvidenceFile]] = {
    "the same vote twice": (
        "proves-nothing", evidence(lies.TWO_VOTES, say(2, Commit(0, 3, A)), say(2, Commit(0, 3, A)))
    ),
    "votes of two views": (
        "proves-nothing", evidence(lies.TWO_VOTES, say(2, Commit(0, 3, A)), say(2, Commit(1, 3, B)))
    ),
    "votes of two heights": (
        "proves-nothing", evidence(lies.TWO_VOTES, say(2, Commit(0, 3, A)), say(2, Commit(0, 4, B)))
    ),
    "votes of two phases": (
        "proves-nothing", evidence(lies.TWO_VOTES, say(2, Prepare(0, 3, A)), say(2, Commit(0, 3, B)))
    ),
    "proposals of no primary": (
        "proves-nothing", evidence(lies.TWO_VOTES, say(2, PrePrepare(0, 3, A)), say(2, PrePrepare(0, 3, B)))
    ),
    "suspicions": ("proves-nothing", evidence(lies.TWO_VOTES, say(2, Suspect(0)), say(2, Suspect(1)))),
    "shown as prepared": (
        "proves-nothing",
        evidence(lies.OMITTED_PREPARED, say(2, Commit(1, 3, A)), say(2, ViewChange(2, None, (prepared(1, 3, A),)))),
    ),
    "stored": (
        "proves-nothing",
        evidence(lies.OMITTED_PREPARED, say(2, Commit(1, 3, A)), say(2, ViewChange(2, certified(1, 3, A), ()))),
    ),
    "a vote after the view change": (
        "proves-nothing", evidence(lies.OMITTED_PREPARED, say(2, Commit(2, 3, A)), say(2, ViewChange(2, None, ())))
    ),
    "a view as it must be": (
        "proves-nothing",
        evidence(lies.FALSE_NEW_VIEW, say(1, new_view(1, ((1, A),), ViewChange(1, None, (prepared(0, 1, A),))))),
    ),
    "a view of no primary": ("proves-nothing", evidence(lies.FALSE_NEW_VIEW, say(2, new_view(1)))),
    "a sound view change": (
        "proves-nothing", evidence(lies.FALSE_VIEW_CHANGE, say(2, ViewChange(1, certified(0, 3, A), ())))
    ),
    "a sound batch": ("proves-nothing", proposed(batch(KEYS[3]))),
    "another batch": (
        "proves-nothing",
        evidence(lies.FALSE_PROPOSAL, say(0, PrePrepare(0, 3, A)), attachment=batch(KEYS[3], forge=True)[0]),
    ),
    "the certified block": (
        "proves-nothing",
        evidence(lies.WRONG_BLOCK, say(2, Commit(0, 3, A)), attachment=encode_certificate(certified(0, 3, A))),
    ),
    "a block that nobody certified": (
        "proves-nothing",
        evidence(lies.WRONG_BLOCK, say(2, Commit(0, 3, B)), attachment=encode_certificate(certified(0, 3, A, (0, 1)))),
    ),
    "no batch": ("bad-evidence", evidence(lies.FALSE_PROPOSAL, say(0, PrePrepare(0, 3, A)), attachment=b"no")),
    "no certificate": ("bad-evidence", evidence(lies.WRONG_BLOCK, say(0, Commit(0, 3, A)), attachment=b"no")),
    "of other statements": ("bad-evidence", evidence(lies.WRONG_BLOCK, say(0, Prepare(0, 3, A)))),
    "one vote alone": ("bad-evidence", evidence(lies.TWO_VOTES, say(0, Prepare(0, 3, A)))),
    "of another chain inside": (
        "bad-evidence", evidence(lies.TWO_VOTES, say(2, Commit(0, 3, A), b"x" * 32), say(2, Commit(0, 3, B)))
    ),
    "of another chain": ("wrong-chain", msgspec.structs.replace(LIES["two commits"], chain="00" * 32)),
    "of a later epoch": ("unknown-epoch", msgspec.structs.replace(LIES["two commits"], epoch=1)),
    "of nobody": ("unknown-member", msgspec.structs.replace(LIES["two commits"], member=4)),
    "of another's name": ("unknown-member", msgspec.structs.replace(LIES["two commits"], name="node-1")),
    "of another's key": (
        "not-signed", msgspec.structs.replace(LIES["two commits"], member=1, name="node-1")
    ),
    "of an unknown kind": ("unknown-kind", msgspec.structs.replace(LIES["two commits"], kind="rudeness")),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_nobody_is_accused_of_what_a_correct_member_does(name: str) -> None:
    code, document = NOTHING[name]
    with pytest.raises(RefusedError) as refused:
        check_evidence(document, GENESIS)
    assert refused.value.code == code


def test_every_bit_of_a_signed_part_counts() -> None:
    document = LIES["two commits"]
    first, second = document.statements
    for position in range(0, len(first.data), 7):
        flipped = first.data[:position] + bytes([first.data[position] ^ 1]) + first.data[position + 1 :]
        for statements in ((Said(flipped, first.signature), second), (second, Said(flipped, first.signature))):
            with pytest.raises(RefusedError):
                check_evidence(msgspec.structs.replace(document, statements=statements), GENESIS)


SPOILED: list[Callable[[dict[str, Any]], object]] = [
    lambda d: d.update(format=2),
    lambda d: d.update(surprise=1),
    lambda d: d.pop("kind"),
    lambda d: d.update(statements="none"),
    lambda d: d["statements"][0].update(data="not base64!"),
]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_file_that_is_none_is_refused(spoil: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(dump_evidence(LIES["two commits"]))
    spoil(document)
    with pytest.raises(RefusedError, match=r"^bad-evidence: file: "):
        parse_evidence(json.dumps(document).encode(), "file")


def test_evidence_of_a_later_epoch_brings_what_proves_its_members(tmp_path: Path) -> None:
    """Checklist 47: members have other indices there; the genesis alone is needed to check it."""
    chain = EpochChain(genesis=make_genesis((*NAMES, "eve")))
    chain.grow_to(chain.decide("remove", "bob", "ada", "bob", "cyd", "dan"))
    epoch = chain.ledger.epoch_at(chain.height)
    assert epoch.number == 1 and epoch.members[1].name == "cyd"
    said = []
    for digest in (A, B):
        data = encode_statement(Prepare(0, chain.height + 1, digest), chain.genesis.chain, 1)
        said.append(Signed(1, data, key_of("cyd").sign(data)))
    files = EvidenceFiles(tmp_path, chain.genesis, chain.ledger.boundaries)
    path = files.keep(Evidence(1, lies.TWO_VOTES, tuple(said)))
    assert path is not None
    document = parse_evidence(path.read_bytes(), str(path))
    proven = check_evidence(document, chain.genesis)
    assert (proven.name, proven.epoch, proven.height) == ("cyd", 1, chain.height + 1)
    without = msgspec.structs.replace(document, boundaries=())
    forged = msgspec.structs.replace(document, boundaries=(document.boundaries[0][:-1],))
    for spoiled, code in ((without, "unknown-epoch"), (forged, "bad-epochs")):
        with pytest.raises(RefusedError, match=code):
            check_evidence(spoiled, chain.genesis)


def found(name: str) -> Evidence:
    """As the core hands it out."""
    document = LIES[name]
    statements = tuple(Signed(document.member, said.data, said.signature) for said in document.statements)
    return Evidence(document.member, document.kind, statements, document.attachment)


def test_a_node_keeps_a_file_for_each_finding_and_few_of_a_kind(tmp_path: Path) -> None:
    directory = tmp_path / "evidence"
    files = EvidenceFiles(directory, GENESIS)
    first = files.keep(found("two commits"))
    assert first is not None and first.parent == directory and first.name.startswith("two-votes_node-2_")
    before = first.read_bytes()
    check_evidence(parse_evidence(before, str(first)), GENESIS)
    assert files.keep(found("two commits")) is None  # the same finding has the same name
    assert files.keep(found("two prepares")) is not None
    assert files.keep(found("two view changes")) is None  # enough of one kind of one member
    assert files.keep(found("two new views")) is not None
    assert files.keep(found("another block")) is not None
    assert first.read_bytes() == before
    assert len(list(directory.iterdir())) == 4


def test_a_node_keeps_nothing_that_proves_nothing(tmp_path: Path) -> None:
    document = NOTHING["votes of two views"][1]
    statements = tuple(Signed(document.member, said.data, said.signature) for said in document.statements)
    assert EvidenceFiles(tmp_path, GENESIS).keep(Evidence(document.member, document.kind, statements)) is None
    assert list(tmp_path.iterdir()) == []


def test_evidence_that_cannot_be_written_does_not_stop_a_node(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("a file where the directory belongs")
    assert EvidenceFiles(tmp_path / "evidence", GENESIS).keep(found("two commits")) is None
