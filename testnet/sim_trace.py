"""A history as lines that people can read."""

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
from testnet.sim_world import value_of


def describe(message: Message) -> str:
    """What a message says, in one short line."""
    match message:
        case Signed(sender, data, _):
            return f"{_statement(data)} by n{sender}"
        case Proposal(pre_prepare, batch):
            return f"proposal {_statement(pre_prepare.data)}, {len(batch)} bytes"
        case Status(_, view, stored):
            return f"status: view {view}, stored {stored}"
        case BatchRequest(digests):
            return f"asks for batches {' '.join(short(digest) for digest in digests)}"
        case BatchReply(batches):
            return f"gives {len(batches)} batches"
        case BlockRequest(first):
            return f"asks for blocks from {first}"
        case BlockReply(blocks):
            return f"gives {len(blocks)} blocks"
        case Recall(_, _, view, stored):
            return f"asks what is held of its votes; view {view}, stored {stored}"
        case Recollection(_, _, _, statements):
            return f"holds {len(statements)} statements of it"
        case Forward(transactions):
            return f"forwards {len(transactions)} transactions"


def short(digest: bytes) -> str:
    """The beginning of a digest, as people compare them."""
    return digest.hex()[:8]


def _statement(data: bytes) -> str:
    value = value_of(data)
    if value is None:
        return "garbage"
    kind, _, _, view, *rest = value
    match kind, rest:
        case "pre-prepare" | "prepare" | "commit", [height, digest]:
            return f"{kind} v{view} h{height} {short(digest)}"
        case "view-change", [_, prepared]:
            return f"view-change v{view}, prepared {' '.join(f'h{item[1]}' for item in prepared) or 'nothing'}"
        case "new-view", [changes, proposals]:
            heights = " ".join(f"h{item[0]}" for item in proposals) or "nothing"
            return f"new-view v{view} from {len(changes)} view changes, proposes {heights}"
        case _:
            return f"{kind} v{view}"
