"""The statements that members sign: six kinds, each frozen and well-formed once constructed.

What is signed is ``TAG_VOTE || canonical MessagePack of (kind, chain, epoch, view, ...)``. Chain and epoch are no
fields here: ``encode_statement`` writes those of this network and ``decode_statement`` refuses any others, so a
statement in memory is always one of this chain and epoch. Who said it stands beside it (``Signed.sender``), and
is proven by the key that verifies the signature.

    PrePrepare   the primary proposes a batch at a height; it counts as the primary's prepare
    Prepare      a backup accepts that proposal
    Commit       a member executed the batch and got this block; ``commit_bytes`` of node/model/certificate.py
    Suspect      a member has seen no progress in this view, and still votes in it
    ViewChange   a member has left every view below this one; it says what may have been committed there
    NewView      the primary of a view shows a quorum of ViewChanges, and the proposals that follow from them
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from node.consensus.messages import Signed
from node.consensus.settings import MAX_STATEMENT_BYTES, WINDOW
from node.errors import CodecError, PeerError
from node.model.certificate import Certificate, decode_certificate, encode_certificate
from node.model.codec import Value, decode, encode
from node.model.keys import SIGNATURE_BYTES, TAG_VOTE

MAX_VIEW: Final = 2**62
MAX_HEIGHT: Final = 2**62
DIGEST_BYTES: Final = 32

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PrePrepare:
    """``digest``: of the batch proposed at ``height`` in ``view``."""

    view: int
    height: int
    digest: bytes

    def __post_init__(self) -> None:
        _check_vote(self.view, self.height, self.digest)


@dataclass(frozen=True, slots=True)
class Prepare:
    """The sender accepts the proposal with this digest, and no other, at (view, height)."""

    view: int
    height: int
    digest: bytes

    def __post_init__(self) -> None:
        _check_vote(self.view, self.height, self.digest)


@dataclass(frozen=True, slots=True)
class Commit:
    """The sender holds a prepared certificate for (view, height), executed it, and got this block."""

    view: int
    height: int
    block_hash: bytes

    def __post_init__(self) -> None:
        _check_vote(self.view, self.height, self.block_hash)


@dataclass(frozen=True, slots=True)
class Suspect:
    """The sender wants the view after ``view``."""

    view: int

    def __post_init__(self) -> None:
        _check_range("view", self.view, 0, MAX_VIEW)


@dataclass(frozen=True, slots=True)
class PreparedCertificate:
    """A quorum accepted this digest at (view, height): the primary's pre-prepare and others' prepares.

    ``pre_prepare``: the primary's signature; ``prepares``: (member, signature), ascending, without the primary.
    """

    view: int
    height: int
    digest: bytes
    pre_prepare: bytes
    prepares: tuple[tuple[int, bytes], ...]

    def __post_init__(self) -> None:
        _check_vote(self.view, self.height, self.digest)
        _check_signature(self.pre_prepare)
        last = -1
        for member, signature in self.prepares:
            _check_range("member", member, last + 1, 1 << 16)
            _check_signature(signature)
            last = member


@dataclass(frozen=True, slots=True)
class ViewChange:
    """``stable``: the certificate of the sender's newest stored block (None: it has none above the epoch's base);
    ``prepared``: the newest prepared certificate of each height above it, ascending, all within the window.

    Where the base is, a statement does not know: ``check_view_change`` sees to what that bounds."""

    view: int
    stable: Certificate | None
    prepared: tuple[PreparedCertificate, ...]

    def __post_init__(self) -> None:
        _check_range("view", self.view, 1, MAX_VIEW)
        if self.stable is not None:
            _check_range("height", self.stable.height, 1, MAX_HEIGHT)
        last = 0 if self.stable is None else self.stable.height
        highest = MAX_HEIGHT if self.stable is None else last + WINDOW
        for certificate in self.prepared:
            _check_range("height", certificate.height, last + 1, highest)
            _check_range("view", certificate.view, 0, self.view - 1)
            highest = min(highest, certificate.height + WINDOW - 1)
            last = certificate.height

    def stable_height(self, base: int) -> int:
        """The newest height that the sender had stored, in an epoch after ``base``."""
        return base if self.stable is None else self.stable.height


@dataclass(frozen=True, slots=True)
class NewView:
    """``view_changes``: a quorum for ``view``, ascending by sender; ``proposals``: (height, digest, the primary's
    signature over the PrePrepare), ascending, without gaps from the height after the highest stable one."""

    view: int
    view_changes: tuple[Signed, ...]
    proposals: tuple[tuple[int, bytes, bytes], ...]

    def __post_init__(self) -> None:
        _check_range("view", self.view, 1, MAX_VIEW)
        last = -1
        for signed in self.view_changes:
            _check_range("member", signed.sender, last + 1, 1 << 16)
            _check_signature(signed.signature)
            last = signed.sender
        for position, (height, digest, signature) in enumerate(self.proposals):
            _check_vote(self.view, height, digest)
            _check_signature(signature)
            if height != self.proposals[0][0] + position:
                raise PeerError("malformed", "the heights of a new view are not consecutive")


Statement: TypeAlias = PrePrepare | Prepare | Commit | Suspect | ViewChange | NewView


def encode_statement(statement: Statement, chain: bytes, epoch: int) -> bytes:
    """The bytes that are signed."""
    match statement:
        case PrePrepare(view, height, digest):
            value: Value = ("pre-prepare", chain, epoch, view, height, digest)
        case Prepare(view, height, digest):
            value = ("prepare", chain, epoch, view, height, digest)
        case Commit(view, height, block_hash):
            value = ("commit", chain, epoch, view, height, block_hash)
        case Suspect(view):
            value = ("suspect", chain, epoch, view)
        case ViewChange(view, stable, prepared):
            proof = None if stable is None else encode_certificate(stable)
            value = ("view-change", chain, epoch, view, proof, tuple(prepared_to_value(item) for item in prepared))
        case NewView(view, view_changes, proposals):
            relayed = tuple((signed.sender, signed.data, signed.signature) for signed in view_changes)
            value = ("new-view", chain, epoch, view, relayed, proposals)
    return TAG_VOTE + encode(value)


def decode_statement(data: bytes, chain: bytes, epoch: int) -> Statement:
    """The statement in ``data``. Its signature is not checked here.

    Raises PeerError: "oversize", "malformed", "wrong-chain", "wrong-epoch".
    """
    if len(data) > MAX_STATEMENT_BYTES:
        raise PeerError("oversize", f"a statement of {len(data)} bytes, at most {MAX_STATEMENT_BYTES} are allowed")
    if not data.startswith(TAG_VOTE):
        raise PeerError("malformed", "not a vote")
    try:
        value = decode(data[len(TAG_VOTE) :])
        if type(value) is not tuple or len(value) < 4:
            raise PeerError("malformed", "not a statement")
        kind, said_chain, said_epoch, view, *rest = value
        if said_chain != chain:
            raise PeerError("wrong-chain", "a statement of another chain")
        if said_epoch != epoch or type(said_epoch) is not int:
            raise PeerError("wrong-epoch", f"a statement of another epoch than {epoch}")
        return _statement(kind, _as(int, view), rest)
    except CodecError as error:
        raise PeerError("malformed", f"not a statement: {error.message}") from error


def _statement(kind: Value, view: int, rest: list[Value]) -> Statement:
    match kind, rest:
        case "pre-prepare", [height, digest]:
            return PrePrepare(view, _as(int, height), _as(bytes, digest))
        case "prepare", [height, digest]:
            return Prepare(view, _as(int, height), _as(bytes, digest))
        case "commit", [height, block_hash]:
            return Commit(view, _as(int, height), _as(bytes, block_hash))
        case "suspect", []:
            return Suspect(view)
        case "view-change", [proof, prepared]:
            stable = None if proof is None else decode_certificate(_as(bytes, proof))
            items = _as(tuple, prepared)
            return ViewChange(view, stable, tuple(prepared_from_value(item) for item in items))
        case "new-view", [relayed, proposals]:
            return NewView(
                view,
                tuple(_signed_from_value(item) for item in _as(tuple, relayed)),
                tuple(_proposal_from_value(item) for item in _as(tuple, proposals)),
            )
        case _:
            raise PeerError("malformed", "a statement of unknown kind or shape")


def prepared_to_value(certificate: PreparedCertificate) -> Value:
    """A prepared certificate as a codec value: in a ViewChange, and in the vote log."""
    c = certificate
    return (c.view, c.height, c.digest, c.pre_prepare, c.prepares)


def prepared_from_value(value: object) -> PreparedCertificate:
    """The inverse of ``prepared_to_value``. Raises PeerError("malformed")."""
    view, height, digest, pre_prepare, prepares = _fields(value, 5)
    votes = []
    for vote in _as(tuple, prepares):
        member, signature = _fields(vote, 2)
        votes.append((_as(int, member), _as(bytes, signature)))
    return PreparedCertificate(
        _as(int, view), _as(int, height), _as(bytes, digest), _as(bytes, pre_prepare), tuple(votes)
    )


def _signed_from_value(value: object) -> Signed:
    sender, data, signature = _fields(value, 3)
    return Signed(_as(int, sender), _as(bytes, data), _as(bytes, signature))


def _proposal_from_value(value: object) -> tuple[int, bytes, bytes]:
    height, digest, signature = _fields(value, 3)
    return _as(int, height), _as(bytes, digest), _as(bytes, signature)


def _fields(value: object, count: int) -> tuple[object, ...]:
    if type(value) is not tuple or len(value) != count:
        raise PeerError("malformed", f"a part of a statement does not have {count} fields")
    return value


def _as(kind: type[_T], value: object) -> _T:
    if type(value) is not kind:  # exactly: True is no integer here
        raise PeerError("malformed", f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _check_vote(view: int, height: int, digest: bytes) -> None:
    if not (0 <= view <= MAX_VIEW and 1 <= height <= MAX_HEIGHT and len(digest) == DIGEST_BYTES):
        raise PeerError("malformed", "a vote whose view, height or digest is out of range")


def _check_range(what: str, number: int, low: int, high: int) -> None:
    if not low <= number <= high:
        raise PeerError("malformed", f"{what} {number} is not between {low} and {high}")


def _check_signature(signature: bytes) -> None:
    if len(signature) != SIGNATURE_BYTES:
        raise PeerError("malformed", f"a signature of {len(signature)} bytes")
