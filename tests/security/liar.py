"""A gateway that lies: it stands before a real one, hands calls on, and changes the replies, field by field."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from protos import gateway_pb2 as pb

Lie = Callable[[str, Message], Message | None]
"""(call, the node's reply) -> what the wallet gets; None: nothing, the call is refused."""

REPLIES: Final[dict[str, type[Message]]] = {
    "Query": pb.QueryReply,
    "Epochs": pb.EpochsReply,
    "Block": pb.BlockReply,
    "NodeInfo": pb.NodeInfoReply,
    "Nonce": pb.NonceReply,
    "Submit": pb.SubmitReply,
    "Status": pb.StatusReply,
}


class Liar(grpc.GenericRpcHandler):
    """A gateway before a real one: hands calls on as they are, and changes the replies."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.lie: Lie = honest
        self.seen: list[tuple[str, Message]] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method: Any = handler_call_details.method

        async def answer(request: bytes, context: Any) -> bytes:
            return await self._answer(method, request, context)

        return grpc.unary_unary_rpc_method_handler(answer)

    async def _answer(self, method: str, request: bytes, context: Any) -> bytes:
        signed = [(key, value) for key, value in context.invocation_metadata() if key.startswith("watt-")]
        name = method.rpartition("/")[2]
        try:
            call: Any = self._channel.unary_unary(method)
            raw: bytes = await call(request, metadata=signed, timeout=10)
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details(), tuple(error.trailing_metadata() or ()))
        reply = REPLIES[name].FromString(raw)
        self.seen.append((name, reply))
        changed = self.lie(name, reply)
        if changed is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is none", (("watt-code", "unknown-device"),))
        assert changed is not None
        return changed.SerializeToString()


def honest(_: str, reply: Message) -> Message:
    return reply


@asynccontextmanager
async def lying(target: str) -> AsyncIterator[tuple[Liar, str]]:
    """A liar before the gateway ``target``, and its address."""
    server = grpc.aio.server()
    async with grpc.aio.insecure_channel(target) as channel:
        liar = Liar(channel)
        server.add_generic_rpc_handlers((liar,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield liar, f"127.0.0.1:{port}"
        finally:
            await server.stop(0)


def mutations(message: Message, within: str = "") -> Iterator[tuple[str, Callable[[Message], None]]]:
    """Every field of a message and of those inside it, and what changes it in place: each has a name."""
    for field in message.DESCRIPTOR.fields:
        name = f"{within}{field.name}"
        content = getattr(message, field.name)
        if field.message_type is not None:
            rows = list(content) if field.is_repeated else [content]
            for index, row in enumerate(rows):
                for inner, change in mutations(row, f"{name}[{index}]."):
                    yield inner, inside(field, index, change)
        elif not field.is_repeated:
            for what, new in others(content):
                yield f"{name}: {what}", setting(field.name, new)
        if field.is_repeated:
            yield from listed(field, name, list(content))
        elif field.has_presence:
            yield f"{name}: absent", clearing(field.name)


def listed(field: Any, name: str, rows: list[Any]) -> Iterator[tuple[str, Callable[[Message], None]]]:
    """A list without one, with one twice, in another order; and each plain element changed."""
    for index, row in enumerate(rows):
        yield f"{name}[{index}]: left out", replacing(field.name, rows[:index] + rows[index + 1 :])
        yield f"{name}[{index}]: twice", replacing(field.name, [*rows, row])
        if field.message_type is None:
            for what, new in others(row):
                yield f"{name}[{index}]: {what}", replacing(field.name, [*rows[:index], new, *rows[index + 1 :]])
    if len(rows) > 1:
        yield f"{name}: turned round", replacing(field.name, rows[::-1])
    if field.message_type is None and not rows:
        spare: Any = {FieldDescriptor.CPPTYPE_STRING: b"\x93\xc4\x01x" if field.type == field.TYPE_BYTES else "x"}
        yield f"{name}: made up", replacing(field.name, [spare.get(field.cpp_type, 7)])


def others(value: Any) -> list[tuple[str, Any]]:
    """Values of the same type that are not this one."""
    if isinstance(value, bool):
        return [("turned", not value)]
    if isinstance(value, int):
        return [(f"{new}", new) for new in {0, value + 1} - {value}]
    if isinstance(value, str):
        return [("longer", value + "x"), *([("empty", "")] if value else [])]
    if not value:
        return [("made up", b"\x01")]
    place = value[-1] % len(value)
    flipped = value[:place] + bytes([value[place] ^ 4]) + value[place + 1 :]
    return [
        ("a bit", flipped),
        ("shorter", value[:-1]) if len(value) % 2 else ("longer", value + b"\0"),
        ("empty", b""),
    ]


def setting(name: str, new: Any) -> Callable[[Message], None]:
    return lambda message: setattr(message, name, new)


def clearing(name: str) -> Callable[[Message], None]:
    return lambda message: message.ClearField(name)


def replacing(name: str, rows: list[Any]) -> Callable[[Message], None]:
    def change(message: Message) -> None:
        message.ClearField(name)
        getattr(message, name).extend(rows)

    return change


def inside(field: Any, index: int, change: Callable[[Message], None]) -> Callable[[Message], None]:
    def changed(message: Message) -> None:
        content = getattr(message, field.name)
        change(content[index] if field.is_repeated else content)

    return changed


def lie_in(call: str, change: Callable[[Message], None]) -> Lie:
    def lie(name: str, reply: Message) -> Message:
        if name == call:
            try:
                change(reply)
            except (IndexError, ValueError):  # the head has moved, and this reply is shorter
                reply.Clear()
        return reply

    return lie
