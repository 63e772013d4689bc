"""What waits to be sent to one peer: bounded in messages and bytes, never in the way of a broadcast."""

from collections import deque

from node.limits import MAX_JOINED_BYTES, SEND_QUEUE_BYTES, SEND_QUEUE_MESSAGES


class Outbox:
    """A queue of encoded frames. When it is full the oldest gossip goes first, then the oldest of anything:
    the protocol repeats what still matters."""

    __slots__ = ("_frames", "_gossip", "dropped", "size_bytes")

    def __init__(self) -> None:
        self._frames: deque[tuple[bytes, bool]] = deque()
        self._gossip = 0
        self.size_bytes = 0
        self.dropped = 0
        """How many messages were dropped since the start."""

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes, gossip: bool) -> None:
        """Append a frame; drops others if there is no room."""
        self._frames.append((frame, gossip))
        self._gossip += gossip
        self.size_bytes += len(frame)
        while len(self._frames) > SEND_QUEUE_MESSAGES or self.size_bytes > SEND_QUEUE_BYTES:
            self._drop_one()

    def take(self) -> bytes:
        """The oldest frames joined into one, up to MAX_JOINED_BYTES (or a single larger one); empty if none wait."""
        parts: list[bytes] = []
        size = 0
        while self._frames and (not parts or size + len(self._frames[0][0]) <= MAX_JOINED_BYTES):
            frame, gossip = self._frames.popleft()
            self._gossip -= gossip
            size += len(frame)
            parts.append(frame)
        self.size_bytes -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def clear(self) -> None:
        """Forget everything: the link is gone, and the peer will ask for what it misses."""
        self.dropped += len(self._frames)
        self._frames.clear()
        self._gossip = 0
        self.size_bytes = 0

    def _drop_one(self) -> None:
        index = 0
        if self._gossip:
            index = next(i for i, (_, gossip) in enumerate(self._frames) if gossip)
        frame, gossip = self._frames[index]
        del self._frames[index]
        self._gossip -= gossip
        self.size_bytes -= len(frame)
        self.dropped += 1
