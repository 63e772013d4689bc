"""Evidence of signed lies: portable files that anyone checks offline, with the genesis document and nothing else.

A file is JSON: what kind of lie it is (``node/consensus/lies.py``), whose, on which chain and in which epoch, the
statements exactly as they were signed, and what they are held against. Whoever checks one trusts nobody: signatures
are checked with the members' keys, and then the statements are read and compared by the rules that nodes follow.
``docs/evidence.md`` says what each kind proves.
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from node.consensus import lies
from node.consensus.desk import Desk
from node.consensus.messages import Evidence, Signed
from node.consensus.settings import OBSERVER, Settings
from node.consensus.statements import (
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Statement,
    Suspect,
    ViewChange,
)
from node.consensus.view_change import check_new_view, check_view_change, stable_fault
from node.epochs import verified_epochs
from node.errors import CodecError, PeerError, RefusedError
from node.model import keys
from node.model.block import DecodedBatch, decode_batch
from node.model.certificate import decode_certificate
from node.model.codec import decode, sha256
from node.model.epoch import Boundary, Epoch, decode_boundary, encode_boundary
from node.model.genesis import Genesis
from node.model.keys import Verify
from node.model.transaction import MAX_NONCE

log = logging.getLogger("watt.evidence")

EVIDENCE_FORMAT: Final = 1
MAX_EVIDENCE_FILE_BYTES: Final = 16 * 1024 * 1024
"""Two NewViews of 2 MiB, or a pre-prepare and a batch of 4 MiB, and a third more in base64."""
FILES_OF_A_KIND: Final = 2
"""So many findings of one kind against one member are kept: enough to prove it, and no way to fill a disk."""

_PHASES: Final = {
    PrePrepare: "different proposals",
    Prepare: "different prepare votes",
    Commit: "different commit votes",
    ViewChange: "different view changes",
    NewView: "different beginnings",
}


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A statement as it was signed; base64 in the file."""

    data: bytes
    signature: bytes


class EvidenceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``chain``: hex; ``member``: the index in the epoch of who signed, ``name`` its name; ``attachment``: what the
    statements are held against, empty for kinds that need nothing; ``boundaries``: what proves the epochs from 1 up to
    this one (``node/epochs.py``), encoded."""

    format: int
    kind: str
    chain: str
    epoch: int
    member: int
    name: str
    statements: tuple[Said, ...]
    attachment: bytes = b""
    boundaries: tuple[bytes, ...] = ()


class Finding(NamedTuple):
    """What evidence proves. ``height``: None for lies that are about a view as a whole; ``what``: in words."""

    kind: str
    name: str
    member: int
    epoch: int
    view: int
    height: int | None
    what: str


class _NoPen:
    """Whoever checks signs nothing."""

    public_key = b""

    def sign(self, message: bytes) -> bytes:
        raise ValueError("nothing is signed here")


def parse_evidence(data: bytes, source: str) -> EvidenceFile:
    """The file's content; ``source`` names it in errors. Raises RefusedError("bad-evidence")."""
    if len(data) > MAX_EVIDENCE_FILE_BYTES:
        raise RefusedError("bad-evidence", f"{source}: larger than any evidence")
    try:
        document = msgspec.json.decode(data, type=EvidenceFile)
    except UnicodeDecodeError as error:
        raise RefusedError("bad-evidence", f"{source}: not UTF-8 text") from error
    except msgspec.MsgspecError as error:
        raise RefusedError("bad-evidence", f"{source}: {error}") from error
    if document.format != EVIDENCE_FORMAT:
        raise RefusedError(
            "bad-evidence", f"{source}: format {document.format}, this program reads format {EVIDENCE_FORMAT}"
        )
    return document


def dump_evidence(document: EvidenceFile) -> bytes:
    """The JSON of evidence, indented for people."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def proven_epochs(genesis: Genesis, boundaries: Sequence[bytes], verify: Verify) -> tuple[Epoch, ...]:
    """The epochs that encoded boundaries prove, epoch 0 first. Raises RefusedError: "bad-epochs"."""
    try:
        return verified_epochs(genesis, [decode_boundary(data) for data in boundaries], verify)
    except CodecError as error:
        raise RefusedError("bad-epochs", f"what should prove an epoch cannot be read: {error.message}") from error


def check_evidence(document: EvidenceFile, genesis: Genesis, verify: Verify = keys.verify) -> Finding:
    """What the evidence proves.

    Raises RefusedError: "wrong-chain"; "bad-epochs", "unknown-epoch", "unknown-member"; "unknown-kind"; "bad-evidence"
    (its parts cannot be read); "not-signed" (a signature is not the member's); "proves-nothing" (a correct member may
    sign it).
    """
    if document.chain != genesis.chain.hex():
        raise RefusedError("wrong-chain", f"it is of chain {document.chain[:16]}, not {genesis.chain.hex()[:16]}")
    epochs = proven_epochs(genesis, document.boundaries, verify)
    if not 0 <= document.epoch < len(epochs):
        raise RefusedError("unknown-epoch", f"who the members of epoch {document.epoch} are is not proven")
    epoch = epochs[document.epoch]
    if not 0 <= document.member < len(epoch.members) or document.name != epoch.members[document.member].name:
        raise RefusedError(
            "unknown-member", f"`{document.name}` is not member {document.member} of epoch {epoch.number}"
        )
    desk = Desk(Settings(genesis.chain, epoch.number, epoch.keys, OBSERVER, epoch.base), _NoPen(), verify)
    signed = tuple(Signed(document.member, said.data, said.signature) for said in document.statements)
    try:
        statements = tuple(desk.read(each) for each in signed)
    except PeerError as error:
        raise RefusedError("bad-evidence", f"a statement cannot be read: {error.message}") from error
    if not all(desk.is_genuine(each) for each in signed):
        raise RefusedError("not-signed", f"a statement is not signed by {document.name}")
    view, height, what = _judge(document, statements, signed, desk)
    return Finding(document.kind, document.name, document.member, epoch.number, view, height, f"{document.name} {what}")


def _judge(
    document: EvidenceFile, statements: tuple[Statement, ...], signed: tuple[Signed, ...], desk: Desk
) -> tuple[int, int | None, str]:
    """(view, height, what was done), or RefusedError."""
    match document.kind, statements:
        case lies.TWO_VOTES, (first, second):
            return _two_votes(first, second, signed, desk)
        case lies.OMITTED_PREPARED, (Commit() as vote, ViewChange() as change):
            _require(vote.view < change.view, "the vote is not of a view before the view change")
            _require(not lies.covers(change, vote), "the view change covers what was voted for")
            what = (
                f"voted in view {vote.view} to commit a block at height {vote.height}, and left it out on leaving for"
            )
            return vote.view, vote.height, f"{what} view {change.view}"
        case lies.FALSE_VIEW_CHANGE, (ViewChange() as change,):
            fault = _fault_of(lambda: check_view_change(change, desk))
            return change.view, None, f"signed a change to view {change.view} that does not hold: {fault}"
        case lies.FALSE_NEW_VIEW, (NewView() as new_view,):
            _require(desk.settings.primary(new_view.view) == document.member, "it is not the primary of that view")
            fault = _fault_of(lambda: check_new_view(signed[0], new_view, desk))
            return new_view.view, None, f"began view {new_view.view} as its view changes do not allow: {fault}"
        case lies.FALSE_PROPOSAL, (PrePrepare() as proposal,):
            fault = _proposal_fault(proposal, document, desk)
            return proposal.view, proposal.height, f"proposed a batch at height {proposal.height} {fault}"
        case lies.WRONG_BLOCK, (Commit() as vote,):
            _check_wrong_block(vote, document.attachment, desk)
            what = (
                f"voted at height {vote.height} for block {vote.block_hash.hex()[:16]}, which is not the certified one"
            )
            return vote.view, vote.height, what
    if document.kind in (lies.TWO_VOTES, lies.OMITTED_PREPARED, lies.FALSE_VIEW_CHANGE, lies.FALSE_NEW_VIEW,
                         lies.FALSE_PROPOSAL, lies.WRONG_BLOCK):  # fmt: skip
        raise RefusedError("bad-evidence", f"these are not the statements of `{document.kind}`")
    raise RefusedError("unknown-kind", f"`{document.kind}` is no kind of evidence that this program knows")


def _two_votes(
    first: Statement, second: Statement, signed: tuple[Signed, ...], desk: Desk
) -> tuple[int, int | None, str]:
    _require(signed[0].data != signed[1].data, "both statements are the same one")
    _require(type(first) is type(second), "the statements are of different kinds")
    _require(first.view == second.view, "they are of different views")
    if isinstance(first, PrePrepare | NewView):
        _require(desk.settings.primary(first.view) == signed[0].sender, "it is not the primary of that view")
    if isinstance(first, PrePrepare | Prepare | Commit) and isinstance(second, PrePrepare | Prepare | Commit):
        _require(first.height == second.height, "they are of different heights")
        return (
            first.view,
            first.height,
            f"signed two {_PHASES[type(first)]} at height {first.height}, view {first.view}",
        )
    _require(not isinstance(first, Suspect), "suspicions may differ")
    return first.view, None, f"signed two {_PHASES[type(first)]} for view {first.view}"


def _fault_of(check: Callable[[], object]) -> str:
    """What the check finds wrong. Raises RefusedError("proves-nothing") if it finds nothing."""
    try:
        check()
    except PeerError as error:
        return error.message
    raise RefusedError("proves-nothing", "the statement holds: a correct member may sign it")


def _proposal_fault(proposal: PrePrepare, document: EvidenceFile, desk: Desk) -> str:
    settings = desk.settings
    _require(settings.primary(proposal.view) == document.member, "it is not the primary of that view")
    try:
        decoded = decode_batch(document.attachment)
    except CodecError as error:
        raise RefusedError("bad-evidence", f"the attachment is no batch: {error.message}") from error
    _require(decoded.digest == proposal.digest, "the batch is not the proposed one")
    fault = batch_fault(decoded, settings.chain, settings.epoch, desk.verify)
    if fault is None:
        raise RefusedError("proves-nothing", "the batch is one that members may vote for")
    return fault


def batch_fault(decoded: DecodedBatch, chain: bytes, epoch: int, verify: Verify) -> str | None:
    """Why no member may vote for the batch, by its bytes alone; None if one may."""
    batch = decoded.batch
    if batch.chain != chain:
        return "of another chain"
    if batch.epoch != epoch:
        return f"of epoch {batch.epoch}"
    if not 0 <= batch.time <= MAX_NONCE:
        return "whose time is no time"
    for tx in decoded.transactions:
        if tx.payload.chain != chain:
            return f"with transaction {tx.id.hex()[:16]} of another chain"
        if not tx.signature_is_valid(verify):
            return f"with transaction {tx.id.hex()[:16]}, which its sender did not sign"
    return None


def _check_wrong_block(vote: Commit, attachment: bytes, desk: Desk) -> None:
    try:
        certificate = decode_certificate(attachment)
    except CodecError as error:
        raise RefusedError("bad-evidence", f"the attachment is no certificate: {error.message}") from error
    fault = stable_fault(certificate, desk)
    _require(fault is None, f"the certificate proves no block: {fault}")
    _require((certificate.view, certificate.height) == (vote.view, vote.height), "the certificate is of another place")
    _require(certificate.block_hash != vote.block_hash, "the vote is for the certified block")


def _epoch_said(signed: Signed) -> int:
    """The epoch that a statement which the core has read is of."""
    value = decode(signed.data[len(keys.TAG_VOTE) :])
    assert isinstance(value, tuple) and isinstance(value[2], int)
    return value[2]


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RefusedError("proves-nothing", otherwise)


class EvidenceFiles:
    """The evidence that a node holds, one file for each finding. Nothing is overwritten, and there are few of each."""

    def __init__(
        self, directory: Path, genesis: Genesis, boundaries: Callable[[], Sequence[Boundary]] = lambda: ()
    ) -> None:
        """``boundaries``: the ledger's, which prove all epochs that have begun."""
        self._directory = directory
        self._genesis = genesis
        self._boundaries = boundaries

    def keep(self, evidence: Evidence) -> Path | None:
        """Check and write a finding of the core, unless there are enough like it; where. What cannot be written is
        logged: this node's own work does not rest on it."""
        number = _epoch_said(evidence.statements[0])
        boundaries = self._boundaries()[:number]
        members = boundaries[-1].members if boundaries else self._genesis.epoch.members
        name = members[evidence.member].name
        document = EvidenceFile(
            format=EVIDENCE_FORMAT,
            kind=evidence.kind,
            chain=self._genesis.chain.hex(),
            epoch=number,
            member=evidence.member,
            name=name,
            statements=tuple(Said(each.data, each.signature) for each in evidence.statements),
            attachment=evidence.attachment,
            boundaries=tuple(encode_boundary(boundary) for boundary in boundaries),
        )
        try:
            found = check_evidence(document, self._genesis)
            path = self._write(document)
        except RefusedError as error:
            log.warning("no-evidence kind=%s member=%s: %s", evidence.kind, name, error)
            return None
        except OSError as error:
            log.error("evidence-lost kind=%s member=%s: %s", evidence.kind, name, error.strerror or error)
            return None
        log.error("evidence kind=%s member=%s file=%s: %s", evidence.kind, name, path or "enough of it", found.what)
        return path

    def members(self) -> tuple[str, ...]:
        """The names of those against whom there is evidence."""
        return tuple(sorted({path.name.split("_")[1] for path in self._directory.glob("*_*_*.json")}))

    def _write(self, document: EvidenceFile) -> Path | None:
        data = dump_evidence(document)
        start = f"{document.kind}_{document.name}_"  # no name has an underscore
        path = self._directory / f"{start}{sha256(data).hex()[:16]}.json"
        self._directory.mkdir(parents=True, exist_ok=True)
        there = [other for other in self._directory.iterdir() if other.name.startswith(start)]
        if path in there or len(there) >= FILES_OF_A_KIND:
            return None
        unfinished = path.with_suffix(".new")
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        return path
