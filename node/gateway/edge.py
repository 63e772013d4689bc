"""What a gateway checks before a transaction costs anybody else anything, cheapest first.

Size and form; chain; not expired; contract, method and arguments; sender; nonce; room; the sender's and its member's
share; signature. All but the last look at one transaction, a few at a time, so that nobody else waits for a long list;
signatures go to the verifier together, as far as the connection has earned it (``admission.py``). A list that comes to
more refusals than its connection has left is read no further. Passing proves nothing: the same is checked in the block,
but for room, shares, and whether anybody knows the sender.

That a nonce is used, or a transaction waits, is told to the sender alone, so after the signature: whoever knows a key
could else find out, by transactions that it forges, when the key was last active.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from chaincode.contract import ContractError
from chaincode.registry import Registry
from node.driver import Driver
from node.errors import NoRoomError, RefusedError
from node.gateway.admission import Admission
from node.gateway.codes import NotNowError
from node.gateway.pace import retry_ms_of
from node.mempool import Mempool
from node.model.genesis import Genesis
from node.model.transaction import Transaction, decode_transaction, tx_id_of
from node.verifier import Verifier

CHUNK_MS: Final = 20
"""What a chunk of signatures takes, about: how long to wait if too many are before one's own."""
SLICE: Final = 64
"""So many are looked at before others have their turn: two or three milliseconds."""
_TOO_MANY_REFUSED: Final = "too much that was refused came over this connection"
_OF_ITS_SENDER: Final = frozenset({"duplicate", "nonce-used", "nonce-out-of-window"})
"""Refusals that tell what the sender has done before."""
Candidate: TypeAlias = tuple[int, Transaction]
Refusals: TypeAlias = dict[int, RefusedError]


log = logging.getLogger("watt.tx")


class Accepted(NamedTuple):
    """What became of a list of raw transactions: those in the mempool now, and why others are not, by position."""

    transactions: list[Transaction]
    refused: dict[int, RefusedError]


class Edge:
    """The checks, in order. ``now``: block time by this node's clock, in seconds."""

    def __init__(
        self,
        genesis: Genesis,
        registry: Callable[[], Registry],
        mempool: Mempool,
        verifier: Verifier,
        driver: Driver,
        now: Callable[[], int],
        admission: Admission,
    ) -> None:
        self._chain = genesis.chain
        self._registry = registry
        self._mempool = mempool
        self._verifier = verifier
        self._driver = driver
        self._now = now
        self._admission = admission

    async def accept(self, raws: Sequence[bytes], peer: str) -> Accepted:
        """Check transactions that the connection ``peer`` brings and put the good ones into the mempool.

        The refusals' codes: "oversize", "malformed", "non-canonical", "bad-nonce", "bad-expiry", "bad-sender",
        "bad-chain" (form); "wrong-chain"; "expired"; "unknown-contract", "unknown-method", "bad-args"; "duplicate",
        "unknown-sender", "nonce-used", "nonce-out-of-window", "mempool-full", "too-fast"; "bad-signature". Those that
        mean "not now" are NotNowError. Raises NotNowError("busy").
        """
        refused: Refusals = {}
        kept_back: Refusals = {}
        candidates = await self._looked_at(raws, peer, refused, kept_back)
        right = await self._signed(candidates, peer, refused, kept_back)
        for index, tx in right:
            if index in kept_back:
                self._refuse(refused, index, tx, kept_back[index])
        signed = [candidate for candidate in right if candidate[0] not in kept_back]
        # Others of the same sender or member may have been taken while signatures were checked.
        within = self._within_share(signed, Counter(), refused)
        self._admission.refuse(peer, [(raws[index], refused[index]) for index, _ in signed if index in refused])
        answers = self._driver.submit_all([tx for _, tx in within]) if within else []
        accepted: list[Transaction] = []
        for (index, tx), refusal in zip(within, answers, strict=True):
            if refusal is None:
                self._admission.charge(tx)
                accepted.append(tx)
            else:
                self._refuse(refused, index, tx, refusal)
        if log.isEnabledFor(logging.DEBUG):
            _tell(accepted, refused, raws)
        return Accepted(accepted, refused)

    async def _looked_at(
        self, raws: Sequence[bytes], peer: str, refused: Refusals, kept_back: Refusals
    ) -> list[Candidate]:
        """Those whose signatures are to be checked, among them those that are refused then (``kept_back``). What is
        refused is charged to the connection slice by slice, so that it brings no more of it in one request than in
        many."""
        claimed: Counter[bytes | str] = Counter()
        within: list[Candidate] = []
        for start in range(0, len(raws), SLICE):
            if start:
                await asyncio.sleep(0)
                if delay_s := self._admission.fault_delay_s(peer):
                    error = NotNowError("too-fast", _TOO_MANY_REFUSED, retry_ms_of(delay_s))
                    for index in range(start, len(raws)):
                        self._refuse(refused, index, None, error)
                    break
            some = range(start, min(start + SLICE, len(raws)))
            in_form = self._in_form(raws, some, refused, kept_back)
            within += [candidate for candidate in in_form if candidate[0] in kept_back]
            fresh = [candidate for candidate in in_form if candidate[0] not in kept_back]
            within += self._within_share(fresh, claimed, refused)
            faults = [(raws[index], refused.get(index) or kept_back.get(index)) for index in some]
            self._admission.refuse(peer, [(raw, error) for raw, error in faults if error is not None])
        return within

    def _in_form(self, raws: Sequence[bytes], some: range, refused: Refusals, kept_back: Refusals) -> list[Candidate]:
        candidates: list[Candidate] = []
        now = self._now()
        for index in some:
            tx = None
            try:
                tx = decode_transaction(raws[index])
                self._check(tx, now)
                candidates.append((index, tx))
            except RefusedError as error:
                if tx is not None and error.code in _OF_ITS_SENDER:
                    kept_back[index] = error
                    candidates.append((index, tx))
                else:
                    self._refuse(refused, index, tx, error)
        return candidates

    def _within_share(
        self, candidates: list[Candidate], claimed: Counter[bytes | str], refused: Refusals
    ) -> list[Candidate]:
        answers = self._admission.within_share([tx for _, tx in candidates], claimed)
        within: list[Candidate] = []
        for (index, tx), refusal in zip(candidates, answers, strict=True):
            if refusal is None:
                within.append((index, tx))
            else:
                self._refuse(refused, index, tx, refusal)
        return within

    async def _signed(
        self, candidates: list[Candidate], peer: str, refused: Refusals, kept_back: Refusals
    ) -> list[Candidate]:
        if self._admission.trusts(peer):
            return await self._checked(candidates, peer, refused, kept_back)
        signed: list[Candidate] = []
        async with self._admission.lock(peer):
            while candidates:
                if delay_s := self._admission.forged_delay_s(peer):
                    for index, tx in candidates:
                        text = "bad signatures came over this connection"
                        self._refuse(refused, index, tx, NotNowError("too-fast", text, retry_ms_of(delay_s)))
                    break
                some = self._admission.proven(peer)
                signed += await self._checked(candidates[:some], peer, refused, kept_back)
                candidates = candidates[some:]
        return signed

    async def _checked(
        self, candidates: list[Candidate], peer: str, refused: Refusals, kept_back: Refusals
    ) -> list[Candidate]:
        """Those that are signed rightly. What was seen before earns its connection no trust by being right again."""
        try:
            known = self._admission.knows(peer)
            right = await self._verifier.check_for_client([tx for _, tx in candidates], known=known)
        except RefusedError as error:
            raise NotNowError(error.code, error.message, CHUNK_MS * self._verifier.waiting_chunks) from error
        told = zip(candidates, right, strict=True)
        self._admission.checked(peer, [is_right for (i, _), is_right in told if i not in kept_back or not is_right])
        for (index, _), is_right in zip(candidates, right, strict=True):
            if not is_right:
                text = "the signature is not the sender's over these bytes"
                self._refuse(refused, index, None, RefusedError("bad-signature", text))
        return [candidate for candidate, is_right in zip(candidates, right, strict=True) if is_right]

    def _refuse(self, refused: Refusals, index: int, tx: Transaction | None, error: RefusedError) -> None:
        if isinstance(error, NoRoomError):
            error = NotNowError(error.code, error.message, self._admission.no_room(error.ahead))
        self._admission.note(tx, error.code)
        refused[index] = error

    def _check(self, tx: Transaction, now: int) -> None:
        payload = tx.payload
        if payload.chain != self._chain:
            raise RefusedError("wrong-chain", f"signed for chain {payload.chain.hex()[:16]}, this is another")
        if payload.not_after < now:
            raise RefusedError("expired", f"not_after {payload.not_after} has passed, block time is {now}")
        try:
            self._registry().check_call(payload.contract, payload.method, payload.args)
        except ContractError as error:
            raise RefusedError(error.code, error.message) from error
        self._mempool.check(tx, now)


def _tell(accepted: Sequence[Transaction], refused: Mapping[int, RefusedError], raws: Sequence[bytes]) -> None:
    for tx in accepted:
        log.debug("received tx=%s", tx.id.hex())
    for index, refusal in sorted(refused.items()):
        log.debug("refused tx=%s code=%s", tx_id_of(raws[index]).hex(), refusal.code)
