"""Genuine certificates, ViewChanges and NewViews of four members, for tests to take apart."""

from node.consensus.desk import Desk
from node.consensus.messages import Signed
from node.consensus.settings import Settings
from node.consensus.statements import Commit, NewView, Prepare, PreparedCertificate, PrePrepare, ViewChange
from node.consensus.view_change import outcome_of
from node.model.certificate import Certificate
from tests.consensus.harness import CHAIN, keys, plain_verify, sign_as

KEYS = keys(4)
MEMBERS = tuple(key.public_key for key in KEYS)
A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))


def desk(me: int = 0, base: int = 0) -> Desk:
    """What checks signatures, as member ``me``, in an epoch after ``base``."""
    return Desk(Settings(CHAIN, 0, MEMBERS, me, base), KEYS[me], plain_verify)


def prepared(view: int, height: int, digest: bytes, without: int = 3) -> PreparedCertificate:
    """A genuine prepared certificate, without the vote of one backup."""
    primary = view % 4
    backups = [member for member in range(4) if member not in (primary, without)][:2]
    return PreparedCertificate(
        view,
        height,
        digest,
        sign_as(KEYS, primary, PrePrepare(view, height, digest)).signature,
        tuple((m, sign_as(KEYS, m, Prepare(view, height, digest)).signature) for m in backups),
    )


def stable(height: int, view: int = 0) -> Certificate:
    """A genuine commit certificate."""
    vote = Commit(view, height, C)
    return Certificate(0, view, height, C, tuple((m, sign_as(KEYS, m, vote).signature) for m in (0, 1, 3)))


def new_view(view_changes: dict[int, ViewChange], view: int) -> tuple[Signed, NewView]:
    """The NewView that a correct primary makes of them."""
    primary = view % 4
    outcome = outcome_of(list(view_changes.values()), 0)
    proposals = tuple(
        (height, digest, sign_as(KEYS, primary, PrePrepare(view, height, digest)).signature)
        for height, digest in outcome.proposals
    )
    statement = NewView(view, tuple(sign_as(KEYS, m, vc) for m, vc in view_changes.items()), proposals)
    return sign_as(KEYS, primary, statement), statement
