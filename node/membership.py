"""A node as a member in the epochs of its network: which of its keys it signs with, and whom it has links with."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from node.ledger.chain import Ledger
from node.limits import FAREWELL_BLOCKS
from node.model.epoch import Epoch
from node.model.keys import Signer
from node.setup import Identity
from node.succession import neighbours
from node.transport.links import Transport

log: Final = logging.getLogger("watt.node")


class Membership:
    """``addresses``: members' by name, as the operator says; ``transport``: has the links."""

    def __init__(self, identity: Identity, ledger: Ledger, addresses: Mapping[str, str], transport: Transport) -> None:
        self._keys = identity.keys
        self._name = identity.name
        self._ledger = ledger
        self._addresses = addresses
        self._transport = transport
        self._unsealing: asyncio.Task[Signer | None] | None = None

    def signer(self, epoch: Epoch) -> Signer | None:
        """The key to vote with in ``epoch``, from the files if need be; None if this node is no member then, or the key
        is not here, which is logged."""
        seat = epoch.member(self._name)
        key = None if seat is None else self._keys.signer(seat) or self._keys.look_for(seat)
        if seat is not None and key is None:
            log.error("key-missing epoch=%d: this node follows and does not vote, for lack of its key", epoch.number)
        return key

    def speaker(self, epoch: Epoch) -> Signer:
        """The key for what this node says to clients while ``epoch`` lasts: as a member if it is one."""
        seat = epoch.member(self._name)
        return (None if seat is None else self._keys.signer(seat)) or self._keys.main

    def epochs_changed(self) -> None:
        """An epoch was scheduled, or one has begun: links, certificate and keys are those of now, and the key of the
        coming one is looked for beside the loop, since to unseal it takes seconds."""
        now, coming = (epoch.member(self._name) for epoch in (self._epoch_now(), self._ledger.epochs()[-1]))
        self._admit()
        self._transport.identify(self._keys.tls(now))
        if now is not None:
            self._keys.take_up(now)
        if coming is not None and self._keys.signer(coming) is None:
            self._unsealing = asyncio.create_task(asyncio.to_thread(self._keys.look_for, coming))

    def stored(self) -> None:
        """A block is stored: those who were members until some blocks ago have no links from now on."""
        if self._ledger.head.height + 1 == self._epoch_now().first_height + FAREWELL_BLOCKS:
            self._admit()

    def _epoch_now(self) -> Epoch:
        """That of the next block."""
        return self._ledger.epoch_at(self._ledger.head.height + 1)

    def _admit(self) -> None:
        self._transport.admit(neighbours(self._ledger, self._name, self._addresses))
