"""A member gone bad: floods all others with whatever costs them most, so many messages a second to each.

Started by ``bench/soak.py`` as ``python -m bench.flood CONFIG PER_SECOND`` with a stopped node's configuration; ends
with SIGTERM. It holds the member's keys, so its links are accepted and its statements can be genuine.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from node.config import Config, load_config
from node.consensus.messages import (
    BatchReply,
    BatchRequest,
    BlockReply,
    BlockRequest,
    Forward,
    Message,
    Proposal,
    Signed,
    Status,
)
from node.consensus.statements import Commit, Prepare, PrePrepare, Suspect, encode_statement
from node.keyfile import KIND_TLS_KEY, load_key, unseal
from node.model.genesis import Genesis, load_genesis
from node.model.keys import SIGNATURE_BYTES, SigningKey
from node.model.transaction import sign_transaction
from node.transport.outgoing import Outgoing
from node.transport.peer import Peer
from node.transport.tls import TlsIdentity
from node.transport.wire import encode_message

ROUND_S: Final = 0.05
GARBAGE_BYTES: Final = 4_000
GARBAGE_ROUNDS: Final = 20
"""What is no frame spoils all that is joined to it in one write: now and then only."""
VIEWS_AHEAD: Final = 4
HEIGHTS_AHEAD: Final = 40
MAX_UINT: Final = 2**62


class Flood:
    """What member ``me`` says, endlessly. Each kind in turn, so that none of a receiver's bounds is spared."""

    def __init__(self, genesis: Genesis, me: int, key: SigningKey) -> None:
        self._chain = genesis.chain
        self._me = me
        self._key = key
        self._dice = Random(me)
        self._kinds = itertools.cycle(
            (
                self._vote,
                self._unsigned_vote,
                self._suspect,
                self._proposal,
                self._status,
                self._requests,
                self._answers,
                self._transactions,
                self._known_vote,
            )
        )
        self._same = self._vote()

    def messages(self) -> Iterator[Message]:
        """One after the other."""
        while True:
            yield next(self._kinds)()

    def garbage(self) -> bytes:
        """A frame that is none."""
        return self._dice.randbytes(self._dice.randint(1, GARBAGE_BYTES))

    def _digest(self) -> bytes:
        return self._dice.randbytes(32)

    def _signed(self, statement: PrePrepare | Prepare | Commit | Suspect) -> Signed:
        data = encode_statement(statement, self._chain, 0)
        return Signed(self._me, data, self._key.sign(data))

    def _place(self) -> tuple[int, int]:
        return self._dice.randint(0, VIEWS_AHEAD), self._dice.randint(1, HEIGHTS_AHEAD)

    def _vote(self) -> Message:
        kind = self._dice.choice((Prepare, Commit))
        return self._signed(kind(*self._place(), self._digest()))

    def _known_vote(self) -> Message:
        return self._same

    def _unsigned_vote(self) -> Message:
        data = encode_statement(Commit(*self._place(), self._digest()), self._chain, 0)
        return Signed(self._me, data, self._dice.randbytes(SIGNATURE_BYTES))

    def _suspect(self) -> Message:
        return self._signed(Suspect(self._dice.randint(0, MAX_UINT)))

    def _proposal(self) -> Message:
        pre_prepare = self._signed(PrePrepare(*self._place(), self._digest()))
        return Proposal(pre_prepare, self._dice.randbytes(GARBAGE_BYTES))

    def _status(self) -> Message:
        return Status(0, self._dice.randint(0, MAX_UINT), self._dice.randint(0, MAX_UINT))

    def _requests(self) -> Message:
        if self._dice.random() < 0.5:
            return BlockRequest(1)
        return BatchRequest(tuple(self._digest() for _ in range(16)))

    def _answers(self) -> Message:
        if self._dice.random() < 0.5:
            return BatchReply((self._dice.randbytes(GARBAGE_BYTES),))
        return BlockReply(((self._digest(), self.garbage(), self._digest()),))

    def _transactions(self) -> Message:
        """Well-formed, of a key that nobody knows, some with a broken signature."""
        key = SigningKey(self._digest())
        tx = sign_transaction(key, self._chain, 1, "market", "place", {}, int(time.time()) + 3600)
        broken = self._dice.randbytes(SIGNATURE_BYTES) + tx.raw[SIGNATURE_BYTES:]
        return Forward((tx.raw, broken, self.garbage()))


async def flood(config: Config, passphrase: str, per_second: int) -> None:
    """Flood until cancelled."""
    genesis = load_genesis(config.path(config.genesis))
    names = [member.name for member in genesis.members]
    me = names.index(config.member)
    certificate = config.path(config.tls_certificate).read_bytes()
    identity = TlsIdentity(unseal(config.path(config.tls_key_file), KIND_TLS_KEY, passphrase), certificate)
    peers = [
        Peer(member.name, config.peer.addresses[member.name], (member.tls_certificate,))
        for member in genesis.members
        if member.name != config.member
    ]
    links = [Outgoing(genesis.chain, config.member, identity, peer) for peer in peers]
    for link in links:
        link.start()
    source = Flood(genesis, me, load_key(config.path(config.key_file), passphrase))
    messages = source.messages()
    for turn in itertools.count():
        began = time.monotonic()
        frames = [encode_message(next(messages)) for _ in range(int(per_second * ROUND_S))]
        if turn % GARBAGE_ROUNDS == 0:
            frames.append(source.garbage())
        for link in links:
            for frame in frames:
                link.put(frame, False)
        await asyncio.sleep(max(0.0, ROUND_S - (time.monotonic() - began)))


def main() -> None:
    """See the module's docstring."""
    config = load_config(Path(sys.argv[1]))
    passphrase = config.path(config.passphrase_file).read_text().strip()
    asyncio.run(flood(config, passphrase, int(sys.argv[2])))


if __name__ == "__main__":
    main()
