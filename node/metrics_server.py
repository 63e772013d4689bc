"""Serves ``/metrics``, ``/healthz`` and ``/readyz`` over HTTP/1.1, in the node's own event loop: few connections, short
requests, short patience.

``/healthz`` answers as long as the loop turns: if it does not, the process is to be started anew. ``/readyz`` says
whether clients should ask this node: 503 with the reasons while blocks do not come, or it is far behind.

With ``operators`` it is HTTPS, for those alone who show an operator's certificate (``node/pki/serving.py``): the others
are told 403, or their handshake fails. A connection counts from its first byte on, not from the end of its handshake.

Not a web server: one request a connection, and everything else is refused with its status.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from node.config import split_address
from node.errors import ConfigError, PeerError
from node.limits import METRICS_CONNECTIONS, METRICS_REQUEST_BYTES, METRICS_SECONDS
from node.pki.serving import OperatorsPort
from node.transport.links import FaultLog

log = logging.getLogger("watt.metrics")

_PAUSE_S = 0.1
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class MetricsServer:
    """Listens at ``listen``, host:port. ``unready``: why clients should not ask this node, codes; none if they may.
    ``operators``: who may come in, None: whoever reaches it."""

    def __init__(
        self,
        listen: str,
        registry: CollectorRegistry,
        unready: Callable[[], Sequence[str]],
        operators: OperatorsPort | None = None,
    ) -> None:
        self._listen = listen
        self._registry = registry
        self._unready = unready
        self._operators = operators
        self._listening: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._faults = FaultLog()

    async def start(self) -> None:
        """Raises ConfigError("port-in-use")."""
        host, port = split_address(self._listen)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._listening = socket.create_server((host, port), family=family, backlog=METRICS_CONNECTIONS)
        except OSError as error:
            raise ConfigError("port-in-use", f"cannot listen on {self._listen}") from error
        self._listening.setblocking(False)
        self._tasks = [asyncio.create_task(self._accept(self._listening), name="metrics")]
        if self._operators is not None:
            self._tasks.append(asyncio.create_task(self._operators.watch(), name="operators"))

    async def stop(self) -> None:
        """Close it, and all connections."""
        if self._listening is None:
            return
        tasks = (*self._tasks, *self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listening.close()
        self._listening = None

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:  # gone again before it was taken, or no file descriptor is left
                log.warning("metrics-connection-failed: %s", error.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            if len(self._connections) < METRICS_CONNECTIONS:
                task = asyncio.create_task(self._serve(connection))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
                continue
            if self._operators is None:
                with contextlib.suppress(OSError):
                    connection.send(_response(503, "too many connections at once\n"))
            connection.close()

    async def _serve(self, connection: socket.socket) -> None:
        try:
            async with asyncio.timeout(METRICS_SECONDS):
                reader, writer = await self._opened(connection)
        except (OSError, TimeoutError) as error:  # a failed handshake is an OSError, too
            connection.close()
            if isinstance(error, ssl.SSLError):
                self._note("TLS failed: " + (error.reason or "closed"))
            return
        try:
            async with asyncio.timeout(METRICS_SECONDS):
                writer.write(self._refusal(writer) or self._answer(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        except (asyncio.LimitOverrunError, asyncio.IncompleteReadError):
            writer.write(_response(400, "not a request\n"))
        except (OSError, TimeoutError):
            log.debug("a connection ended in the middle of a request")
        finally:
            writer.close()

    async def _opened(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=METRICS_REQUEST_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        context = None if self._operators is None else self._operators.context
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _refusal(self, writer: asyncio.StreamWriter) -> bytes | None:
        if self._operators is None:
            return None
        shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
        fault = self._operators.fault(shown.getpeercert(binary_form=True))
        if fault is None:
            return None
        self._note(fault)
        return _response(403, f"wrong-certificate: {fault}\n")

    def _note(self, fault: str) -> None:
        self._faults.note("operator", PeerError("wrong-certificate", fault))

    def _answer(self, head: bytes) -> bytes:
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(400, "not a request\n")
        if words[0] != "GET":
            return _response(405, "GET only\n")
        page = words[1].partition("?")[0]
        if page == "/healthz":
            return _response(200, "alive\n")
        if page == "/readyz":
            because = self._unready()
            return _response(503, f"not ready: {', '.join(because)}\n") if because else _response(200, "ready\n")
        if page != "/metrics":
            return _response(404, "look at /metrics, /healthz or /readyz\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        encode: Callable[[CollectorRegistry], bytes]
        encode, content_type = choose_encoder(headers.get("accept", ""))
        return _response(200, encode(self._registry), content_type)


def _response(status: int, body: bytes | str, content_type: str = "text/plain; charset=utf-8") -> bytes:
    data = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n"
    return head.encode() + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(data) + data
