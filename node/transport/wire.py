"""Between the replica's messages and the bytes of ``protos/peer.proto``. Sizes are checked before anything inside
a message is decoded; what the opaque bytes say is for those who read them."""

from collections.abc import Iterable, Sequence

from google.protobuf.message import DecodeError

from node.consensus.messages import (
    BatchReply,
    BatchRequest,
    BlockReply,
    BlockRequest,
    Forward,
    Message,
    Proposal,
    Recall,
    Recollection,
    Signed,
    Status,
)
from node.errors import PeerError
from node.limits import MAX_LIST_ITEMS, MAX_SIGNED_BYTES
from node.model.block import MAX_BATCH_BYTES
from node.model.keys import SIGNATURE_BYTES
from node.model.transaction import MAX_TRANSACTION_BYTES
from protos import peer_pb2 as pb

PROTOCOL = 2
DIGEST_BYTES = 32
MAX_HEADER_BYTES = 4096
MAX_CERTIFICATE_BYTES = 64 * 1024
MAX_COUNTER = 2**63 - 1
MAX_NAME_LENGTH = 48


class Hello:
    """The first message on a link: which member, by name, claims to be sending, on which chain."""

    __slots__ = ("chain", "sender")

    def __init__(self, chain: bytes, sender: str) -> None:
        self.chain = chain
        self.sender = sender


def encode_hello(hello: Hello) -> bytes:
    """A frame with one hello."""
    message = pb.Message(hello=pb.Hello(protocol=PROTOCOL, chain=hello.chain, sender=hello.sender))
    return pb.Frame(messages=[message]).SerializeToString()


def encode_message(message: Message) -> bytes:
    """A frame with one message; frames may be joined with ``b"".join``."""
    return pb.Frame(messages=[_to_protobuf(message)]).SerializeToString()


def decode_frame(data: bytes) -> list[Message | Hello]:
    """The messages of a frame. Raises PeerError: "malformed", "oversize", "wrong-protocol"."""
    try:
        frame = pb.Frame.FromString(data)
    except DecodeError as error:
        raise PeerError("malformed", f"a frame of {len(data)} bytes does not decode") from error
    return [_from_protobuf(message) for message in frame.messages]


def is_gossip(message: Message) -> bool:
    """Whether losing the message costs nothing but time: it is repeated or asked for again."""
    return isinstance(message, Status | Forward | BatchRequest | BlockRequest | Recall)


def _to_protobuf(message: Message) -> pb.Message:
    match message:
        case Signed():
            return pb.Message(signed=_signed_out(message))
        case Proposal():
            proposal = pb.Proposal(pre_prepare=_signed_out(message.pre_prepare), batch=message.batch)
            return pb.Message(proposal=proposal)
        case Status():
            return pb.Message(status=pb.Status(epoch=message.epoch, view=message.view, stored=message.stored))
        case BatchRequest():
            return pb.Message(batch_request=pb.BatchRequest(digests=message.digests))
        case BatchReply():
            return pb.Message(batch_reply=pb.BatchReply(batches=message.batches))
        case BlockRequest():
            return pb.Message(block_request=pb.BlockRequest(first=message.first))
        case BlockReply():
            blocks = [pb.StoredBlock(header=h, body=b, certificate=c) for h, b, c in message.blocks]
            return pb.Message(block_reply=pb.BlockReply(blocks=blocks))
        case Recall(epoch, start, view, stored):
            return pb.Message(recall=pb.Recall(epoch=epoch, start=start, view=view, stored=stored))
        case Recollection(epoch, start, certificate, statements):
            signed = [_signed_out(item) for item in statements]
            answer = pb.Recollection(epoch=epoch, start=start, certificate=certificate, statements=signed)
            return pb.Message(recollection=answer)
        case Forward():
            return pb.Message(forward=pb.Forward(transactions=message.transactions))


def _from_protobuf(message: pb.Message) -> Message | Hello:
    match message.WhichOneof("kind"):
        case "hello":
            if message.hello.protocol != PROTOCOL:
                raise PeerError("wrong-protocol", f"protocol {message.hello.protocol}, this node speaks {PROTOCOL}")
            if len(message.hello.sender) > MAX_NAME_LENGTH:
                raise PeerError("oversize", f"a name of {len(message.hello.sender)} characters")
            return Hello(message.hello.chain, message.hello.sender)
        case "signed":
            return _signed_in(message.signed)
        case "proposal":
            _require_size("batch", message.proposal.batch, MAX_BATCH_BYTES)
            return Proposal(_signed_in(message.proposal.pre_prepare), message.proposal.batch)
        case "status":
            status = message.status
            return Status(_counter(status.epoch), _counter(status.view), _counter(status.stored))
        case "batch_request":
            return BatchRequest(_items("digest", message.batch_request.digests, DIGEST_BYTES))
        case "batch_reply":
            return BatchReply(_items("batch", message.batch_reply.batches, MAX_BATCH_BYTES))
        case "block_request":
            return BlockRequest(_counter(message.block_request.first))
        case "block_reply":
            return BlockReply(_blocks_in(message.block_reply.blocks))
        case "recall":
            return _recall_in(message.recall)
        case "recollection":
            return _recollection_in(message.recollection)
        case "forward":
            return Forward(_items("transaction", message.forward.transactions, MAX_TRANSACTION_BYTES))
        case _:
            raise PeerError("malformed", "a message of no known kind")


def _signed_out(signed: Signed) -> pb.Signed:
    return pb.Signed(sender=signed.sender, data=signed.data, signature=signed.signature)


def _signed_in(signed: pb.Signed) -> Signed:
    _require_size("statement", signed.data, MAX_SIGNED_BYTES)
    if len(signed.signature) != SIGNATURE_BYTES:
        raise PeerError("malformed", f"a signature of {len(signed.signature)} bytes")
    return Signed(signed.sender, signed.data, signed.signature)


def _recall_in(recall: pb.Recall) -> Recall:
    numbers = (recall.epoch, recall.start, recall.view, recall.stored)
    return Recall(*(_counter(number) for number in numbers))


def _recollection_in(answer: pb.Recollection) -> Recollection:
    _require_size("certificate", answer.certificate, MAX_CERTIFICATE_BYTES)
    if len(answer.statements) > MAX_LIST_ITEMS:
        raise PeerError("oversize", f"{len(answer.statements)} statements in one answer")
    statements = tuple(_signed_in(item) for item in answer.statements)
    return Recollection(_counter(answer.epoch), _counter(answer.start), answer.certificate, statements)


def _blocks_in(blocks: Sequence[pb.StoredBlock]) -> tuple[tuple[bytes, bytes, bytes], ...]:
    if len(blocks) > MAX_LIST_ITEMS:
        raise PeerError("oversize", f"{len(blocks)} blocks in one reply")
    for block in blocks:
        _require_size("header", block.header, MAX_HEADER_BYTES)
        _require_size("body", block.body, MAX_BATCH_BYTES)
        _require_size("certificate", block.certificate, MAX_CERTIFICATE_BYTES)
    return tuple((block.header, block.body, block.certificate) for block in blocks)


def _items(name: str, items: Iterable[bytes], limit: int) -> tuple[bytes, ...]:
    found = tuple(items)
    if len(found) > MAX_LIST_ITEMS:
        raise PeerError("oversize", f"{len(found)} times {name} in one message")
    for item in found:
        _require_size(name, item, limit)
    return found


def _require_size(name: str, data: bytes, limit: int) -> None:
    if len(data) > limit:
        raise PeerError("oversize", f"a {name} of {len(data)} bytes, at most {limit} are allowed")


def _counter(value: int) -> int:
    if value > MAX_COUNTER:
        raise PeerError("malformed", f"{value} is no height, view or epoch")
    return value
