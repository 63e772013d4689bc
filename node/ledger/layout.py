"""The keys of the database: one byte for the family, then the rest. See ``docs/ledger.md``."""

FORMAT = b"F"
HEAD = b"H"
BASE = b"B"
HEADER = b"h"
BODY = b"b"
CERTIFICATE = b"c"
RESULTS = b"r"
TRANSACTION = b"t"
STATE = b"s"
NODE = b"n"
CHANGED = b"d"
BOUNDARY = b"e"

HEIGHT_BYTES = 8
"""What HEAD and BASE hold, and what follows the family in ``at_height``."""
PLACE_BYTES = 12
"""A transaction's place: height, and 4 bytes of index in the batch."""
DATABASE_FORMAT = 4


def at_height(family: bytes, height: int) -> bytes:
    """The key of what ``family`` keeps for the block at ``height``."""
    return family + height.to_bytes(8, "big")


def after_prefix(prefix: bytes) -> bytes:
    """The first key behind all that start with ``prefix``, which does not end in 0xff."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
