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
READINGS = b"m"
"""Of slots of which a block holds readings: slot (8 bytes) and height (8 bytes), until they are erased."""
ERASED = b"x"
"""At the height of a block of which something was erased: how many of its transactions, of its receipts and events."""
UNCOMPACTED = b"X"
"""The lowest and the highest height of what was erased since the database was last compacted; each 8 bytes."""

HEIGHT_BYTES = 8
"""What HEAD and BASE hold, and what follows the family in ``at_height``."""
PLACE_BYTES = 12
"""A transaction's place: height, and 4 bytes of index in the batch."""
DATABASE_FORMAT = 7


def at_height(family: bytes, height: int) -> bytes:
    """The key of what ``family`` keeps for the block at ``height``."""
    return family + height.to_bytes(8, "big")


def after_prefix(prefix: bytes) -> bytes:
    """The first key behind all that start with ``prefix``, which does not end in 0xff."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
