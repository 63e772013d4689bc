"""What a meter signs when somebody else hands its reading in: bytes that can mean nothing else.

The message names its purpose, the chain, the device and the slot, so that a signature is good for this one reading
only. Whoever signs (a meter, without a network) and whoever checks (every node) makes it here.
"""

from typing import Final

from chaincode.keys import text, uint

TAG_READING: Final = b"watt/reading/1\0"
"""No other message that is signed begins so: transactions and votes have tags of their own."""


def reading_message(chain: bytes, device: str, slot: int, energy: tuple[int, int], registers: tuple[int, int]) -> bytes:
    """The bytes that the meter of ``device`` signs: (imported, exported) Wh of ``slot``, and its registers at its end.

    ``chain``: the chain's id, 32 bytes. Raises ContractError: bad-text, out-of-range.
    """
    return TAG_READING + chain + text(device) + b"".join([uint(number) for number in (slot, *energy, *registers)])
