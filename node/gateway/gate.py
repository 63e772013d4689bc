"""A client's way to one gateway, which stays good while certificates change.

A plain one is a channel. One closed by TLS is a channel that believes the one certificate that was looked at
(``vetting.py``); when a call finds nobody, it is looked at again: it may have been renewed, or somebody else be there.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import grpc.aio

from node.gateway.channel import open_channel
from node.model.keys import Signer

if TYPE_CHECKING:
    from node.pki.trust import Trust


class Gate:
    """``reader``, ``chain``, ``roots``: see ``open_channel``; ``roots`` may hold revocation lists, too.

    Raises ConfigError("bad-ca") if ``roots`` is not such a text.
    """

    def __init__(
        self,
        address: str,
        options: Sequence[tuple[str, Any]],
        reader: Signer | None = None,
        chain: bytes | None = None,
        roots: bytes | None = None,
    ) -> None:
        self.address = address
        self._options = options
        self._reader = reader
        self._chain = chain
        self._trust = None if roots is None else _trust_in(roots)
        self._vetted: bytes | None = None
        self._channel: grpc.aio.Channel | None = None
        self._is_doubted = False
        self._opening = asyncio.Lock()

    async def channel(self) -> grpc.aio.Channel:
        """The channel to use now. Raises RefusedError: "unreachable", "untrusted-node" (``vet``)."""
        if self._channel is not None and not self._is_doubted:
            return self._channel
        async with self._opening:
            if self._channel is not None and not self._is_doubted:
                return self._channel
            shown = None if self._trust is None else await self._certificate(self._trust)
            if self._channel is None or shown != self._vetted:
                await self.close()
                self._channel = open_channel(self.address, self._options, self._reader, self._chain, shown)
                self._vetted = shown
            self._is_doubted = False
            return self._channel

    def doubt(self) -> None:
        """A call found nobody: look at the certificate again before the next one."""
        self._is_doubted = self._trust is not None

    async def close(self) -> None:
        """Close the channel, if there is one."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _certificate(self, trust: "Trust") -> bytes:
        from node.gateway.vetting import vet  # noqa: PLC0415 - as below

        return (await vet(self.address, trust)).certificate


def _trust_in(roots: bytes) -> "Trust":
    from node.pki.trust import read_trust  # noqa: PLC0415 - certificates are much to load for whoever has a plain way

    return read_trust(roots)
