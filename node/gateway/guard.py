"""Around every call of a client: requests that do not decode, refusals and surprises become statuses with a code.

So the service's methods raise ``RefusedError`` and nothing else, and bytes that are no request never reach them.
A client that takes no answer of a stream for a while is cut off, and one that asks too fast is told to wait: before
its request is read, which is why every call is served as one whose request is a stream (on the wire it is the same).
Until then it has a place (``places.py``), which it keeps until its answer is taken.
Who asks is known here and handed on as ``reader``: the key that signed the call (``node/model/read.py``).
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from node.errors import NodeFault, RefusedError
from node.gateway.codes import NotNowError, abort
from node.gateway.pace import Connections, Pace, Tarpit, address_of, retry_ms_of
from node.gateway.places import Place, Places
from node.limits import (
    CALLS_BURST,
    CALLS_PER_SECOND,
    MAX_REQUEST_FIELDS,
    PACED_CONNECTIONS,
    PACED_SENDERS,
    READER_CALLS_BURST,
    READER_CALLS_PER_SECOND,
    SUBSCRIBER_PATIENCE_SECONDS,
)
from node.model.keys import verify
from node.model.read import READ_KEY, SIGNED_CALLS, check_read

log = logging.getLogger("watt.gateway")

HANDING_IN: Final = ("Submit", "SubmitMany")
"""Calls with transactions: ``enter`` says whether a connection may bring any now. All others are questions, also those
about the node: a connection, a key and an address ask so many a second, over streams as well."""
STREAMED_IN: Final = "SubmitStream"
"""Whose requests wait for their turn by what they bring."""
UNASKED: Final = frozenset({"sign-first", "not-allowed", "bad-read-signature", "stale-read", "malformed", "oversize"})
"""Refusals of questions that nobody asks again and again who means well: such a one counts for so many more."""
UNASKED_CALLS: Final = 9
STRANGERS: Final = 4
"""What asks without a key at an address counts as so many."""
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

reader: Final[ContextVar[bytes]] = ContextVar("reader", default=b"")
"""The key that signed the call under way; empty if nobody did. Every call runs in a context of its own."""

_MALFORMED = object()
_OVERSIZE = object()
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}
"""Protobuf's kinds of fields, the last with their lengths; groups are no longer made."""


class _Arrived(NamedTuple):
    """A request of a call that may be signed: what it says, and the bytes that were signed."""

    request: Any
    data: bytes


async def _anybody(peer: str) -> None:
    pass


class Guard(grpc.aio.ServerInterceptor):
    """Wraps the handlers of all services of a gateway, health and reflection too: their calls take places as well.
    ``chain``: the id that reads are signed for; ``enter``: waits, or raises NotNowError, before a request with
    transactions is read from a connection."""

    def __init__(
        self,
        failed: Callable[[NodeFault], None],
        chain: bytes,
        patience_s: float = SUBSCRIBER_PATIENCE_SECONDS,
        enter: Callable[[str], Awaitable[None]] = _anybody,
    ) -> None:
        self._failed = failed
        self._chain = chain
        self._patience_s = patience_s
        self._enter = enter
        self._wrapped: dict[str, Handler] = {}
        self._pace: Pace[str] = Pace(CALLS_PER_SECOND, CALLS_BURST, PACED_CONNECTIONS)
        self._readers: Pace[str] = Pace(READER_CALLS_PER_SECOND, READER_CALLS_BURST, PACED_SENDERS)
        self._connections = Connections()
        self._places = Places()
        self._tarpit = Tarpit()

    @property
    def calls(self) -> int:
        """How many calls have a place now."""
        return self._places.used

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        self._wrapped[method] = self._wrap(handler, method)
        return self._wrapped[method]

    def _wrap(self, handler: Handler, method: str) -> Handler:
        parse = _tolerant(handler.request_deserializer, keep=method in SIGNED_CALLS)
        writer = _encoded_or(handler.response_serializer)
        if handler.unary_unary is not None:
            return grpc.stream_unary_rpc_method_handler(self._unary(handler.unary_unary, method), parse, writer)
        behaviour = handler.stream_stream or handler.unary_stream
        assert behaviour is not None
        many = handler.stream_stream is not None
        return grpc.stream_stream_rpc_method_handler(self._streaming(behaviour, method, many=many), parse, writer)

    def _unary(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
        asks = method.rpartition("/")[2] not in HANDING_IN

        async def call(_: object, context: Context) -> Any:
            try:
                place = await self._place(method, context)
                request = await self._places.request(place, context.read)
                request = _checked(self._heard(request, method, context))
                if asks:
                    self._keep_readers_pace(context.peer())
                return await behaviour(request, context)
            except Exception as error:  # noqa: BLE001  # the edge: nothing that a client does may pass it
                await self._refuse(error, context)

        return call

    async def _place(self, method: str, context: Context) -> Place:
        """All that is asked before a request is read. The place is left when the answer is taken, or nobody waits."""
        peer, name = context.peer(), method.rpartition("/")[2]
        self._connections.meet(peer)
        if name in HANDING_IN:
            await self._enter(peer)
        else:
            await self._keep_pace(peer)
        place = self._places.take(peer)
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: self._places.leave(place))
        return place

    async def _keep_pace(self, peer: str) -> None:
        delay_s = self._pace.delay_s(peer)
        if delay_s:
            await self._tarpit.hold(delay_s)
            text = f"more than {CALLS_PER_SECOND} questions a second over one connection"
            raise NotNowError("too-fast", text, retry_ms_of(self._pace.delay_s(peer)))
        self._pace.spend(peer, 1)

    def _keep_readers_pace(self, peer: str) -> None:
        """A key's questions share what it may ask, over however many connections; those of nobody, their address's."""
        key = reader.get()
        who, share = (key.hex(), 1.0) if key else (address_of(peer), 1 / STRANGERS)
        delay_s = self._readers.delay_s(who)
        if delay_s:
            self._pace.spend(peer, UNASKED_CALLS)
            text = "more questions a second than a key, or an address without one, may ask"
            raise NotNowError("too-fast", text, retry_ms_of(delay_s))
        self._readers.spend(who, share)

    def _heard(self, request: Any, method: str, context: Context) -> Any:
        """The request alone, after its ``reader`` is known. Raises RefusedError: see ``check_read``."""
        if not isinstance(request, _Arrived):
            return request
        signed = [value for key, value in context.invocation_metadata() or () if key == READ_KEY]
        if signed:
            if len(signed) > 1 or not isinstance(signed[0], bytes):
                raise RefusedError("bad-read-signature", "a read is signed once")
            now_ms = time.time_ns() // 1_000_000
            reader.set(check_read(signed[0], self._chain, method, request.data, now_ms, verify))
        return request.request

    def _streaming(self, behaviour: Callable[..., Any], method: str, *, many: bool) -> Callable[..., Any]:
        """``many``: requests are a stream for the method itself, too."""

        async def call(_: object, context: Context) -> None:
            try:
                place = await self._place(method, context)
                request = await self._places.request(place, context.read)
                if many and request is grpc.aio.EOF:
                    return
                request = _checked(self._heard(request, method, context))
                requests = self._each(request, method, context) if many else request
                replies = behaviour(requests, context)
                if not isinstance(replies, AsyncGenerator):
                    await replies
                    return
                async with aclosing(replies):  # or what it holds is held until a refusal, too, has been taken
                    async for reply in replies:
                        await self._write(reply, context)
            except Exception as error:  # noqa: BLE001  # the edge: nothing that a client does may pass it
                await self._refuse(error, context)

        return call

    async def _each(self, first: Any, method: str, context: Context) -> AsyncIterator[Any]:
        """The requests of a stream, as they come: questions no faster than if each were a call."""
        yield first
        peer, asks = context.peer(), method.rpartition("/")[2] != STREAMED_IN
        address = address_of(peer)
        while (request := await context.read()) is not grpc.aio.EOF:
            while asks and (delay_s := max(self._pace.delay_s(peer), self._readers.delay_s(address))):
                await asyncio.sleep(delay_s)
            if asks:
                self._pace.spend(peer, 1)
                self._readers.spend(address, 1 / STRANGERS)
            yield _checked(request)

    async def _write(self, reply: Any, context: Context) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await context.write(reply)
        except TimeoutError as error:
            raise RefusedError("slow-subscriber", "answers were not taken in time; resume where you are") from error

    async def _refuse(self, error: Exception, context: Context) -> None:
        """End the call. gRPC keeps what it raises for that, and raises it again after the handler: with the frames that
        it came through, it would keep the call, and its stream on the connection, until garbage is collected."""
        try:
            if isinstance(error, grpc.aio.AbortError):
                raise error  # the health service refuses by itself
            await abort(context, self._refusal(error, context.peer()))
        except grpc.aio.AbortError as ended:
            ended.__traceback__ = ended.__context__ = None

    def _refusal(self, error: Exception, peer: str) -> RefusedError:
        if isinstance(error, RefusedError):
            if error.code in UNASKED:
                self._pace.spend(peer, UNASKED_CALLS)
            return error
        if isinstance(error, NodeFault):
            self._failed(error)
            return RefusedError("stopping", "this node has failed and stops")
        log.error("internal: a call failed", exc_info=error)
        return RefusedError("internal", "the node could not answer; its log says why")


def _tolerant(parse: Callable[[bytes], Any] | None, *, keep: bool) -> Callable[[bytes], Any]:
    """``parse`` that marks what does not decode; with ``keep`` the bytes go along, as they arrived."""
    assert parse is not None

    def parse_or_mark(data: bytes) -> Any:
        if not _few_fields(data):
            return _OVERSIZE
        try:
            request = parse(data)
        except DecodeError:
            return _MALFORMED
        return _Arrived(request, data) if keep else request

    return parse_or_mark


def _few_fields(data: bytes) -> bool:
    """Whether a message has at most MAX_REQUEST_FIELDS fields. Decoded, an empty one takes a dozen times its bytes; all
    requests together may have half a gigabyte of them. What is no message is left to the decoder."""
    if len(data) <= 2 * MAX_REQUEST_FIELDS:
        return True
    at = 0
    for _ in range(MAX_REQUEST_FIELDS):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _varint(data, at)
            at += length
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            return True
        if at >= len(data):
            return True
    return False


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it; cut off where the data or its ten bytes end."""
    number = shift = 0
    for byte in data[at : at + 10]:
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return number, at


def _encoded_or(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
    """Replies that a method has encoded already go out as they are."""
    assert serialize is not None
    return lambda reply: reply if isinstance(reply, bytes) else serialize(reply)


def _checked(request: Any) -> Any:
    if request is grpc.aio.EOF:
        raise RefusedError("malformed", "the call has no request")
    if request is _MALFORMED:
        raise RefusedError("malformed", "the request does not decode")
    if request is _OVERSIZE:
        raise RefusedError("oversize", f"the request has more than {MAX_REQUEST_FIELDS} fields")
    return request
