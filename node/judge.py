"""Whether a proposed batch may be voted for: by its own bytes and, if it is new, the clock; never by state, so that all
judge alike."""

from collections.abc import Callable

from node.consensus.messages import Validate
from node.intake import CheckSignatures, Verified
from node.limits import FRESH_SECONDS
from node.model.block import Batch
from node.model.genesis import Genesis
from node.model.transaction import MAX_NONCE


class BlockClock:
    """Block time by this machine's clock."""

    def __init__(self, genesis: Genesis, clock_ms: Callable[[], int]) -> None:
        self._genesis = genesis
        self._clock_ms = clock_ms

    def now(self) -> int:
        """Seconds."""
        return self._genesis.block_time(self._clock_ms())

    @property
    def slack_seconds(self) -> int:
        """By how much two members' clocks may differ, in block time."""
        return FRESH_SECONDS * self._genesis.time_scale


class Judge:
    """Judges batches of one chain. ``verified``: whose signatures need no check; those found good are added."""

    def __init__(self, chain: bytes, clock: BlockClock, verified: Verified, check: CheckSignatures) -> None:
        self._chain = chain
        self._clock = clock
        self._verified = verified
        self._check = check

    def judge(self, validate: Validate, answer: Callable[[bool, bool], None]) -> bool:
        """Call ``answer(ok, is_lie)``, at once or later; ``is_lie``: no correct member proposes this, ever. Returns
        whether the batch's form is good, so that it is worth remembering."""
        decoded = validate.decoded
        is_foreign = any(tx.payload.chain != self._chain for tx in decoded.transactions)
        if is_foreign or not self._form_is_valid(decoded.batch, validate.fresh):
            answer(False, is_foreign)
            return False
        verified = self._verified
        unknown = [tx for tx in decoded.transactions if tx.digest not in verified]
        if not unknown:
            answer(True, False)
            return True

        def checked(answers: list[bool]) -> None:
            verified.update(tx.digest for tx, good in zip(unknown, answers, strict=True) if good)
            answer(all(answers), not all(answers))

        self._check(unknown, checked)
        return True

    def _form_is_valid(self, batch: Batch, fresh: bool) -> bool:
        if not 0 <= batch.time <= MAX_NONCE:
            return False
        return not fresh or abs(batch.time - self._clock.now()) <= self._clock.slack_seconds
