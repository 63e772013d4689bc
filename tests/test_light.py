"""The light client's verifier agrees with every test vector, and nothing that is changed in any field passes."""

import ast
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgpack
import nacl.signing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import light
from node.consensus.quorum import quorum
from node.epochs import header_fault, verified_epochs
from node.errors import CodecError, ConfigError, RefusedError
from node.ledger.merkle import child_of
from node.light import Header, LightChain, LightError, proven_value, read_genesis, verify_proof
from node.model.block import decode_header
from node.model.certificate import decode_certificate
from node.model.codec import decode
from node.model.epoch import decode_boundary
from node.model.genesis import parse_genesis
from node.model.keys import verify
from node.model.read import check_read
from tests.vectors.make import HERE, made

CHAIN: dict[str, Any] = json.loads((HERE / "chain.json").read_text())
GENESIS: bytes = CHAIN["genesis"].encode()
BOUNDARIES = [bytes.fromhex(each) for each in CHAIN["boundaries"]]


def cases(name: str) -> list[Any]:
    """The cases of a file, each under its name."""
    return [pytest.param(case, id=case["name"]) for case in json.loads((HERE / name).read_text())]


GOOD = {case["name"]: case for case in json.loads((HERE / "headers.json").read_text()) if case["expect"] == "ok"}
HEAD = GOOD[f"block {CHAIN['head']['height']}"]


def knowing(epochs: int) -> LightChain:
    """A client that has learnt so many epochs."""
    chain = LightChain(GENESIS)
    for boundary in BOUNDARIES[: epochs - 1]:
        chain.add_epoch(boundary)
    return chain


def raw(case: dict[str, Any], field: str) -> bytes:
    return bytes.fromhex(case[field])


def test_the_vectors_are_those_that_the_code_makes() -> None:
    """If the chain's own rules change, ``python -m tests.vectors.make`` makes them anew."""
    for name, text in made().items():
        assert (HERE / name).read_text() == text, f"{name}: run python -m tests.vectors.make"
    assert {path.name for path in HERE.glob("*.json")} == set(made())


def test_a_quorum_is_the_nodes_own() -> None:
    assert [light.quorum(members) for members in range(1, 300)] == [quorum(members) for members in range(1, 300)]


def test_the_verifier_stands_alone_and_is_short() -> None:
    text = Path(light.__file__).read_text()
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                     [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
    }  # fmt: skip
    assert imported == {"collections", "hashlib", "json", "typing", "msgpack", "nacl"}
    assert len(text.splitlines()) <= 300


@pytest.mark.parametrize("case", cases("genesis.json"))
def test_genesis_documents(case: dict[str, Any]) -> None:
    document = case["document"].encode()
    if case["expect"] == "ok":
        assert read_genesis(document)[0].hex() == case["chain"] == parse_genesis(document, "").chain.hex()
        return
    with pytest.raises(LightError, match=f"^{case['expect']}: "):
        read_genesis(document)
    with pytest.raises(ConfigError):
        parse_genesis(document, "")


@pytest.mark.parametrize("case", cases("epochs.json"))
def test_boundaries(case: dict[str, Any]) -> None:
    chain, boundary = knowing(case["epochs"]), raw(case, "boundary")
    genesis = parse_genesis(GENESIS, "")
    before = [decode_boundary(data) for data in BOUNDARIES[: case["epochs"] - 1]]
    if case["expect"] == "ok":
        epoch = chain.add_epoch(boundary)
        own = verified_epochs(genesis, [*before, decode_boundary(boundary)], verify)[-1]
        assert (epoch.number, epoch.first_height) == (own.number, own.first_height) == _row(epoch.number)[:2]
        assert light.members_hash(epoch.members) == own.hash and own.hash.hex() == _row(epoch.number)[2]
        return
    with pytest.raises(LightError, match=f"^{case['expect']}: "):
        chain.add_epoch(boundary)
    assert len(chain.epochs) == case["epochs"] and len(chain.boundaries) == case["epochs"] - 1
    if case["name"] not in _STRICTER:
        with pytest.raises((CodecError, RefusedError)):
            verified_epochs(genesis, [*before, decode_boundary(boundary)], verify)


_STRICTER = {"three members", "a key twice", "no key"}
"""The chain's own rules never let such an epoch begin, so a node does not look again."""


def _row(number: int) -> tuple[int, int, str]:
    (row,) = [row for row in CHAIN["epochs"] if row["number"] == number]
    return row["number"], row["first_height"], row["members_hash"]


@pytest.mark.parametrize("case", cases("headers.json"))
def test_headers_and_certificates(case: dict[str, Any]) -> None:
    chain, header, certificate = knowing(case["epochs"]), raw(case, "header"), raw(case, "certificate")
    if case["expect"] == "ok":
        found = chain.accept(header, certificate)
        assert tuple(found) == tuple(getattr(decode_header(header), name) for name in Header._fields)
        assert _node_accepts(header, certificate, case["epochs"]) and chain.newest == found
        return
    with pytest.raises(LightError, match=f"^{case['expect']}: "):
        chain.accept(header, certificate)
    assert chain.newest is None and not chain.header
    if case["name"] not in ("a negative time", "a root of 31 bytes"):  # no honest quorum signs them
        assert not _node_accepts(header, certificate, case["epochs"])


def _node_accepts(header: bytes, certificate: bytes, epochs: int) -> bool:
    """What the nodes' own code says of the same bytes."""
    genesis = parse_genesis(GENESIS, "")
    known = verified_epochs(genesis, [decode_boundary(data) for data in BOUNDARIES[: epochs - 1]], verify)
    try:
        block, proof = decode_header(header), decode_certificate(certificate)
    except CodecError:
        return False
    return header_fault(genesis.chain, known, block, proof, verify) is None


@pytest.mark.parametrize("case", cases("proofs.json"))
def test_proofs_of_presence_and_absence(case: dict[str, Any]) -> None:
    value = None if case["value"] is None else raw(case, "value")
    proof = [bytes.fromhex(node) for node in case["proof"]]
    assert verify_proof(raw(case, "root"), raw(case, "key"), value, proof) == (case["expect"] == "ok")
    if case["expect"] == "ok" and value is not None:
        header = light.read_header(raw(HEAD, "header"))._replace(state_root=raw(case, "root"))
        assert proven_value(header, raw(case, "key"), value, proof) == decode(value[light.BLIND_BYTES :])
    if case["expect"] == "ok":
        digit = sha256(raw(case, "key")).hexdigest()[len(proof) - 1]
        assert (len(child_of(proof[-1], digit)) == 64) or value is None, "the tree's own reading of the node"


@pytest.mark.parametrize("case", cases("values.json"))
def test_values(case: dict[str, Any]) -> None:
    if case["expect"] == "ok":
        found = light._unpacked(raw(case, "data"), "bad-value")
        assert found == decode(raw(case, "data")) and f"{found!r:.40}" == case["name"]
        return
    with pytest.raises(LightError, match=r"^bad-value: "):
        light._unpacked(raw(case, "data"), "bad-value")
    with pytest.raises(CodecError):
        decode(raw(case, "data"))


@pytest.mark.parametrize("case", cases("freshness.json"))
def test_freshness(case: dict[str, Any]) -> None:
    chain = knowing(len(BOUNDARIES) + 1)
    for step in case["steps"]:
        header, certificate = raw(step, "header"), raw(step, "certificate")
        newest = chain.newest
        if step["expect"] == "ok":
            assert chain.accept(header, certificate, step["not_before"]) == chain.newest
            continue
        with pytest.raises(LightError, match=f"^{step['expect']}: "):
            chain.accept(header, certificate, step["not_before"])
        assert chain.newest == newest


@pytest.mark.parametrize("case", cases("reads.json"))
def test_signed_questions(case: dict[str, Any]) -> None:
    """Signed by nothing but PyNaCl and MessagePack, as the page says; and looked at as a gateway does."""
    signed, request = raw(case, "watt-read-bin"), raw(case, "request")
    if case["expect"] == "ok":
        key, time_ms = nacl.signing.SigningKey(raw(case, "seed")), msgpack.unpackb(signed)[1]
        content = msgpack.packb([raw(case, "chain"), case["call"], sha256(request).digest(), time_ms])
        signature = key.sign(b"watt/signed-read/1\0" + content).signature
        assert msgpack.packb([bytes(key.verify_key), time_ms, signature]) == signed
    try:
        found = check_read(signed, raw(case, "chain"), case["call"], request, case["now_ms"], verify)
    except RefusedError as error:
        assert error.code == case["expect"]
    else:
        assert case["expect"] == "ok" and found == bytes(nacl.signing.SigningKey(raw(case, "seed")).verify_key)


def test_what_an_epoch_leaves_behind_cannot_be_denied() -> None:
    """Whoever has seen a block of an epoch is not told that the epoch ended before it."""
    chain = knowing(1)
    steps = {case["name"]: case for case in json.loads((HERE / "headers.json").read_text())}
    first_of_next = CHAIN["epochs"][1]["first_height"]
    shown = steps[f"block {first_of_next - 1}"]
    chain.accept(raw(shown, "header"), raw(shown, "certificate"))
    assert chain.newest is not None
    chain.newest = chain.newest._replace(height=first_of_next)
    with pytest.raises(LightError, match=r"^forked: "):
        chain.add_epoch(BOUNDARIES[0])


# Mutations: every field of what a node sends, changed in every way that its type allows.

PROOFS = [case for case in json.loads((HERE / "proofs.json").read_text()) if case["expect"] == "ok"]


def leaves(value: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The places of everything in nested arrays, the arrays themselves included."""
    yield path
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))


def put(value: Any, path: tuple[int, ...], new: Any) -> Any:
    if not path:
        return new
    return [put(item, path[1:], new) if index == path[0] else item for index, item in enumerate(value)]


def at(value: Any, path: tuple[int, ...]) -> Any:
    return at(value[path[0]], path[1:]) if path else value


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that differ from ``data``: a field of it, or anything at all."""
    if draw(st.booleans()):
        content = msgpack.unpackb(data)
        path = draw(st.sampled_from(list(leaves(content))))
        new = msgpack.packb(put(content, path, draw(changed(at(content, path)))))
    else:
        place = draw(st.integers(0, len(data) - 1))
        new = draw(
            st.sampled_from([data[:place], data[place:], data + data[:place], data[:place] + b"\x00" + data[place:]])
            | st.integers(1, 255).map(lambda bit: data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        )
    return data + b"\xc0" if new == data else new


def changed(old: Any) -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=70) | st.text(max_size=9)
    if isinstance(old, int):
        near = st.sampled_from([max(old - 1, 0), old + 1, 0, 2**63])
        return near | plain
    if isinstance(old, bytes) and old:
        bits = st.integers(0, 8 * len(old) - 1)
        return plain | bits.map(lambda n: old[: n // 8] + bytes([old[n // 8] ^ 1 << n % 8]) + old[n // 8 + 1 :])
    if isinstance(old, list) and old:
        fewer = st.integers(0, len(old) - 1).map(lambda index: old[:index] + old[index + 1 :])
        return plain | fewer | st.permutations(old).map(list) | st.just([*old, old[-1]]) | st.just([*old, None])
    return plain


@settings(max_examples=300)
@given(data=st.data())
def test_no_mutated_header_or_certificate_is_accepted(data: st.DataObject) -> None:
    """A certificate may have other votes that are good ones too, as few as a quorum: then it proves the same block."""
    header, certificate = raw(HEAD, "header"), raw(HEAD, "certificate")
    if data.draw(st.booleans(), "the header"):
        with pytest.raises(LightError):
            KNOWING.proven_header(data.draw(mutated(header)), certificate)
        return
    other = data.draw(mutated(certificate))
    try:
        found = KNOWING.proven_header(header, other)
    except LightError:
        return
    assert found.state_root.hex() == CHAIN["head"]["state_root"]
    votes = msgpack.unpackb(certificate)[4]
    assert msgpack.unpackb(other)[:4] == msgpack.unpackb(certificate)[:4]
    assert all(vote in votes for vote in msgpack.unpackb(other)[4]), "no vote that its member has not given"


KNOWING = knowing(len(BOUNDARIES) + 1)


@settings(max_examples=200)
@given(data=st.data())
def test_no_mutated_boundary_is_accepted(data: st.DataObject) -> None:
    chain = LightChain(GENESIS)
    other = data.draw(mutated(BOUNDARIES[0]))
    try:
        epoch = chain.add_epoch(other)
    except LightError:
        return
    true = LightChain(GENESIS).add_epoch(BOUNDARIES[0])
    assert epoch == true, "another certificate of the same block, at most"
    assert msgpack.unpackb(other)[0] == msgpack.unpackb(BOUNDARIES[0])[0]


@settings(max_examples=300)
@given(data=st.data())
def test_no_mutated_proof_is_accepted(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(PROOFS))
    value = None if case["value"] is None else raw(case, "value")
    good = [raw(case, "root"), raw(case, "key"), value, [bytes.fromhex(node) for node in case["proof"]]]
    root, key, shown, proof = msgpack.unpackb(data.draw(mutated(msgpack.packb(good)).filter(_is_proof)))
    assert [root, key, shown, proof] == good or not verify_proof(root, key, shown, proof) or (
        shown is None and value is None and [root, proof] == [good[0], good[3]]
    ), "what is absent at one place is absent there under every key"  # fmt: skip


def _is_proof(data: bytes) -> bool:
    try:
        root, key, value, proof = msgpack.unpackb(data)
    except (ValueError, TypeError, msgpack.UnpackException):
        return False
    return (
        isinstance(root, bytes) and isinstance(key, bytes) and (value is None or isinstance(value, bytes))
        and isinstance(proof, list) and all(isinstance(node, bytes) for node in proof)
    )  # fmt: skip


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=200)
@given(document=DOCUMENTS)
def test_settings_of_any_kind_name_the_same_chain_everywhere(document: Any) -> None:
    """Both sides read one document alike, or at least one of them refuses it."""
    text = json.dumps({**json.loads(GENESIS), "contracts": {"any": {"setting": document}}}).encode()
    try:
        chain = read_genesis(text)[0]
        own = parse_genesis(text, "")
    except (LightError, ConfigError):
        return
    assert chain == own.chain
