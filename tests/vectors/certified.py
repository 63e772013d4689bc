"""The cases of what members certify: headers and boundaries, good and broken."""

from collections.abc import Callable
from typing import Any, Final

import msgpack
import msgspec

from node.ledger.chain import Ledger
from node.model.block import Header, decode_header, encode_header
from node.model.certificate import Certificate, commit_bytes, decode_certificate, encode_certificate
from node.model.codec import sha256
from node.model.epoch import Boundary, Epoch, Validator, encode_boundary, members_hash
from node.model.keys import TAG_BLOCK
from tests.chaincode.town import pem
from tests.ledger.epoch_chains import certify_header, key_of

OK: Final = "ok"

Case = dict[str, Any]


def case(name: str, why: str, expect: str, **content: Any) -> Case:
    """``expect``: "ok", or the code of the refusal."""
    return {"name": name, "expect": expect, "why": why, **content}


def certificate_cases(ledger: Ledger) -> list[Case]:
    """Headers with certificates, good and broken, for who knows so many ``epochs``."""
    epochs = ledger.epochs()
    head, proof = ledger.head, ledger.head_certificate
    assert proof is not None
    last = epochs[-1]
    data, certificate = encode_header(head), encode_certificate(proof)
    cases: list[Case] = []

    def add(name: str, why: str, expect: str, header: bytes, cert: bytes, known: int = len(epochs)) -> None:
        cases.append(case(name, why, expect, epochs=known, header=header.hex(), certificate=cert.hex()))

    def votes(edit: Callable[[list[Any]], list[Any]]) -> bytes:
        return encode_certificate(msgspec.structs.replace(proof, votes=tuple(edit(list(proof.votes)))))

    def fields(**changed: Any) -> bytes:
        return encode_certificate(msgspec.structs.replace(proof, **changed))

    for height in (1, epochs[1].first_height - 1, epochs[1].first_height, head.height):
        block, own = ledger.block(height), ledger.certificate(height)
        assert block is not None and own is not None
        add(f"block {height}", "", OK, encode_header(block.header), encode_certificate(own))
    add("a quorum, and no vote more", "", OK, data, encode_certificate(certify_header(head, last, 3)))
    others = [*list(proof.votes)[1:]]
    add("a quorum without the first member", "", OK, data, fields(votes=tuple(others)))

    add("too few votes", "2 of 4 members are no quorum, which is 3", "bad-certificate", data,
        encode_certificate(certify_header(head, last, 2)))  # fmt: skip
    add("no votes", "nobody has signed", "bad-certificate", data, votes(lambda rows: []))
    add("one vote three times", "members are counted, not votes", "bad-certificate", data,
        votes(lambda rows: [rows[0]] * 3))  # fmt: skip
    add("votes out of order", "votes ascend by index, so that a certificate has one form", "bad-certificate", data,
        votes(lambda rows: rows[::-1]))  # fmt: skip
    add("a vote of no member", "the epoch has 4 members, 0 to 3", "bad-certificate", data,
        votes(lambda rows: [*rows[:3], (4, rows[3][1])]))  # fmt: skip
    add("a vote in another's name", "each signature is checked against its own member's key", "bad-certificate", data,
        votes(lambda rows: [rows[0], (1, rows[2][1]), (2, rows[1][1])]))  # fmt: skip
    add("a signature cut short", "it has 64 bytes", "bad-certificate", data,
        votes(lambda rows: [(rows[0][0], rows[0][1][:-1]), *rows[1:]]))  # fmt: skip
    add("another view", "the view is signed", "bad-certificate", data, fields(view=proof.view + 1))
    add("another height", "it is of another block", "bad-certificate", data, fields(height=head.height - 1))
    add("another block's hash", "it is of another block", "bad-certificate", data, fields(block_hash=head.parent_hash))
    add("another epoch", "it is of another epoch than the block", "bad-certificate", data, fields(epoch=0))
    before = ledger.certificate(head.height - 1)
    assert before is not None
    add("the certificate of the block before", "it is of another block", "bad-certificate", data,
        encode_certificate(before))  # fmt: skip
    add("a certificate in a longer form", "integers are as short as they can be", "bad-certificate", data,
        longer(certificate))  # fmt: skip
    add("a certificate with something behind it", "nothing follows", "bad-certificate", data, certificate + b"\xc0")
    add("a certificate cut short", "it ends too soon", "bad-certificate", data, certificate[:-1])
    add("an empty certificate", "nothing is proven", "bad-certificate", data, b"")
    return cases


def header_cases(ledger: Ledger) -> list[Case]:
    """Broken headers: with the head's certificate, or certified by who could do so."""
    epochs = ledger.epochs()
    head, proof = ledger.head, ledger.head_certificate
    assert proof is not None
    last = epochs[-1]
    data, certificate = encode_header(head), encode_certificate(proof)
    cases: list[Case] = []

    def add(name: str, why: str, expect: str, header: bytes, cert: bytes, known: int = len(epochs)) -> None:
        cases.append(case(name, why, expect, epochs=known, header=header.hex(), certificate=cert.hex()))

    for name in Header.__struct_fields__:
        value = getattr(head, name)
        changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
        edited = encode_header(msgspec.structs.replace(head, **{name: changed}))
        expect = {"chain": "other-chain", "epoch": "unknown-epoch", "members_hash": "bad-header"}
        add(f"another {name}", "the certificate is of another header", expect.get(name, "bad-certificate"), edited,
            certificate)  # fmt: skip
    foreign = certified(head, last, chain=bytes(32))
    add("another chain, certified", "the same members run another chain", "other-chain", *foreign)
    retired = certified(head, epochs[0], epoch=0, members_hash=epochs[0].hash)
    add("by retired members", "the height is not of their epoch", "bad-header", *retired)
    posing = encode_header(head), signed_raw(data, head, epochs[0])
    add("by retired members, in the epoch's name", "they are not its members", "bad-certificate", *posing)
    early = certified(head, last, height=last.first_height - 1)
    add("before the epoch's first block", "the height is of the epoch before", "bad-header", *early)
    strange = certified(head, last, members_hash=epochs[0].hash)
    add("other members named", "a header names the members of its epoch", "bad-header", *strange)
    add("an epoch that is not known", "its boundary has to be learnt first", "unknown-epoch", data, certificate, 3)
    padded = longer(data)
    add("a header in a longer form", "even if signed so: one header, one form", "bad-header", padded,
        signed_raw(padded, head, last))  # fmt: skip
    wide = msgpack.packb([*msgpack.unpackb(data), b""])
    add("a header with a field too many", "it has 11", "bad-header", wide, signed_raw(wide, head, last))
    negative = certified(head, last, time=-1)
    add("a negative time", "times are from 0 on", "bad-header", *negative)
    short = certified(head, last, state_root=head.state_root[:31])
    add("a root of 31 bytes", "hashes have 32 bytes", "bad-header", *short)
    return cases


def epoch_cases(ledger: Ledger) -> list[Case]:
    """Boundaries, each for who knows so many ``epochs``."""
    epochs = ledger.epochs()
    boundaries = list(ledger.boundaries())
    first = boundaries[0]
    header, certificate = decode_header(first.header), decode_certificate(first.certificate)
    friends = (*first.members[:4], Validator("fay", key_of("fay").public_key.hex(), pem("fay")))
    cases: list[Case] = []

    def add(name: str, why: str, expect: str, known: int, data: bytes) -> None:
        cases.append(case(name, why, expect, epochs=known, boundary=data.hex()))

    def sealed(members: tuple[Validator, ...], by: Epoch = epochs[0], **fields: Any) -> bytes:
        made = {"next_members_hash": members_hash(members), **fields}
        return encode_boundary(Boundary(*certified(header, by, **made), members))

    for number, boundary in enumerate(boundaries, 1):
        add(f"epoch {number}", "", OK, number, encode_boundary(boundary))
    add("the same again", "epoch 2 is not proven by the boundary of epoch 1", "bad-boundary", 2, encode_boundary(first))
    add("one too early", "who certifies it is not known yet", "unknown-epoch", 1, encode_boundary(boundaries[1]))
    add("other members", "the header names the members by their hash", "bad-boundary", 1,
        encode_boundary(msgspec.structs.replace(first, members=friends)))  # fmt: skip
    add("members in another order", "an index means a member", "bad-boundary", 1,
        encode_boundary(msgspec.structs.replace(first, members=first.members[::-1])))  # fmt: skip
    usurped = Boundary(first.header, signed_raw(first.header, header, epochs[3]), first.members)
    add("certified by later members", "the old ones decide", "bad-certificate", 1, encode_boundary(usurped))
    few = encode_certificate(msgspec.structs.replace(certificate, votes=certificate.votes[:2]))
    add("too few votes", "2 of 4 are no quorum", "bad-certificate", 1,
        encode_boundary(msgspec.structs.replace(first, certificate=few)))  # fmt: skip
    add("not the last block", "it names the same members for the next block", "bad-boundary", 1,
        sealed(epochs[0].members))  # fmt: skip
    add("three members", "a network has at least four", "bad-boundary", 1, sealed(first.members[:3]))
    twice = (*first.members[:4], Validator("fay", first.members[0].public_key, pem("fay")))
    add("a key twice", "a member's votes would count twice", "bad-boundary", 1, sealed(twice))
    keyless = (*first.members[:4], Validator("fay", "00", pem("fay")))
    add("no key", "an Ed25519 key has 32 bytes", "bad-boundary", 1, sealed(keyless))
    good = encode_boundary(first)
    add("cut short", "it ends too soon", "bad-boundary", 1, good[:-1])
    add("something behind it", "nothing follows", "bad-boundary", 1, good + b"\xc0")
    add("a longer form", "one boundary, one form", "bad-boundary", 1, longer(good))
    return cases


def signed_raw(data: bytes, header: Header, epoch: Epoch, signers: int | None = None) -> bytes:
    """A certificate over any bytes that are said to be this header's."""
    block = sha256(TAG_BLOCK, data)
    names = {member.public_key: member.name for member in epoch.members}
    signed = commit_bytes(header.chain, header.epoch, 0, header.height, block)
    votes = tuple(
        (index, signer(names[member.public_key], member.public_key).sign(signed))
        for index, member in enumerate(epoch.members[:signers])
    )
    return encode_certificate(Certificate(header.epoch, 0, header.height, block, votes))


def signer(name: str, public_key: str) -> Any:
    """The member's key: a new one, if it has one."""
    found = key_of(name)
    return found if found.public_key.hex() == public_key else key_of(f"new {name}")


def certified(header: Header, by: Epoch, **fields: Any) -> tuple[bytes, bytes]:
    """The header with other fields, certified by all of the epoch's members."""
    changed = msgspec.structs.replace(header, **fields)
    return encode_header(changed), signed_raw(encode_header(changed), changed, by)


def longer(data: bytes) -> bytes:
    """The same MessagePack array, with its length in three bytes instead of one."""
    return b"\xdc\x00" + bytes([data[0] & 0x0F]) + data[1:]
