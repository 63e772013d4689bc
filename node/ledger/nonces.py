"""Replay protection: which nonces of a sender are used, in the replicated state.

With h the highest used nonce (0 at first) and W = 256, n is acceptable if h-W < n <= h+W and its bit is clear.
So nothing waits for a gap, and what is remembered of a sender is one number and 256 bits.
"""

from typing import cast

from chaincode.contract import Value

NONCE_WINDOW = 256
NONCES = b"nonce/"
"""The table: sender to (highest, bits); of the bits, a 256-bit number, bit i tells of the nonce ``highest - i``."""

FRESH: tuple[int, int] = (0, 0)
_MASK = (1 << NONCE_WINDOW) - 1


def read(value: Value) -> tuple[int, int]:
    """The entry in the state as (highest, bits); None: of a sender that has used none."""
    if value is None:
        return FRESH
    highest, bits = cast(tuple[int, bytes], value)
    return highest, int.from_bytes(bits, "big")


def written(entry: tuple[int, int]) -> Value:
    """What the state keeps of an entry."""
    return entry[0], entry[1].to_bytes(NONCE_WINDOW // 8, "big")


def fault(entry: tuple[int, int], nonce: int) -> str | None:
    """Why ``nonce`` is not acceptable: "nonce-used" or "nonce-out-of-window"; None if it is."""
    highest, bits = entry
    if not highest - NONCE_WINDOW < nonce <= highest + NONCE_WINDOW:
        return "nonce-out-of-window"
    if nonce <= highest and bits >> (highest - nonce) & 1:
        return "nonce-used"
    return None


def use(entry: tuple[int, int], nonce: int) -> tuple[int, int]:
    """The entry once ``nonce``, which is acceptable, is used."""
    highest, bits = entry
    if nonce > highest:
        return nonce, (bits << (nonce - highest) | 1) & _MASK
    return highest, bits | 1 << (highest - nonce)
