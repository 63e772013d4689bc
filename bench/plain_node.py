"""A node whose links to its peers are not closed: to measure what closing them costs, and for nothing else.

Started by ``bench/tls.py`` as ``python -m bench.plain_node node run --config FILE``. No node of the product can run so:
there is no such switch in it. Everything else is the product's; a peer is believed to be whom its hello names.
"""

import asyncio

import grpc
import grpc.aio

import node.parts
import node.transport.links
from cli.main import main
from node.errors import PeerError
from node.transport.links import Transport, _next_frame, bind
from node.transport.outgoing import FIRST_BACKOFF_S, KEEPALIVE, SIZES, Outgoing
from node.transport.wire import Hello, decode_frame

_CHANNEL_OPTIONS = [*SIZES, *KEEPALIVE, ("grpc.use_local_subchannel_pool", 1)]


class PlainOutgoing(Outgoing):
    """A link that anybody on the way can read and change."""

    async def _run(self) -> None:
        while True:
            async with grpc.aio.insecure_channel(self.peer.address, options=_CHANNEL_OPTIONS) as channel:
                await channel.channel_ready()
                self.up = True
                self._why = await self._write(channel)
                self.up = False
                self._outbox.clear()
            await asyncio.sleep(FIRST_BACKOFF_S)


class PlainTransport(Transport):
    """Links without TLS, and without any proof of who is at the other end."""

    async def start(self) -> None:
        listen = self._settings.listen
        bind(lambda: self._server.add_insecure_port(listen), listen)
        await self._server.start()
        self._started = True
        for outgoing in self._outgoing.values():
            outgoing.start()

    async def _link(self, _: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        hello = decode_frame(bytes(await context.read()))[0]
        assert isinstance(hello, Hello)
        task = asyncio.current_task()
        assert task is not None
        self._incoming[next(der for der, name in self._owners.items() if name == hello.sender)] = task
        while (frame := await _next_frame(context)) is not None:
            try:
                for message in decode_frame(frame):
                    if not isinstance(message, Hello):
                        self._receive(hello.sender, message)
            except PeerError as error:
                self._faults.note(hello.sender, error)
        return b""


if __name__ == "__main__":
    node.transport.links.Outgoing = PlainOutgoing  # type: ignore[attr-defined]
    node.parts.Transport = PlainTransport  # type: ignore[attr-defined]
    main()
