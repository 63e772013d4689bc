"""Serves ``/metrics``, ``/healthz`` and ``/readyz`` over HTTP/1.1, in the node's own event loop: few connections, short
requests, short patience.

``/healthz`` answers as long as the loop turns: if it does not, the process is to be started anew. ``/readyz`` says
whether clients should ask this node: 503 with the reasons while blocks do not come, or it is far behind.

Not a web server: one request a connection, and everything else is refused with its status.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from node.config import split_address
from node.errors import ConfigError
from node.limits import METRICS_CONNECTIONS, METRICS_REQUEST_BYTES, METRICS_SECONDS

log = logging.getLogger("watt.metrics")

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class MetricsServer:
    """Listens at ``listen``, host:port. ``unready``: why clients should not ask this node, codes; none if they may."""

    def __init__(self, listen: str, registry: CollectorRegistry, unready: Callable[[], Sequence[str]]) -> None:
        self._listen = listen
        self._registry = registry
        self._unready = unready
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises ConfigError("port-in-use")."""
        host, port = split_address(self._listen)
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=METRICS_REQUEST_BYTES)
        except OSError as error:
            raise ConfigError("port-in-use", f"cannot listen on {self._listen}") from error

    async def stop(self) -> None:
        """Close it, and all connections."""
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._connections) >= METRICS_CONNECTIONS:
                writer.write(_response(503, "too many connections at once\n"))
                return
            self._connections.add(task)
            async with asyncio.timeout(METRICS_SECONDS):
                writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        except (asyncio.LimitOverrunError, asyncio.IncompleteReadError):
            writer.write(_response(400, "not a request\n"))
        except (ConnectionError, TimeoutError):
            log.debug("a connection ended in the middle of a request")
        finally:
            self._connections.discard(task)
            writer.close()

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
