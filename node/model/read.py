"""A signed read: who asks a gateway, so that it answers with no more than that key may see.

A client sends ``sign_read``'s bytes in the metadata of a call, under ``READ_KEY``: the canonical MessagePack of
``(key, time_ms, signature)``. The signature covers ``TAG_SIGNED_READ`` and the canonical MessagePack of
``(chain, method, SHA-256 of the request's bytes, time_ms)``, so that it serves for this question on this chain alone.
``time_ms``: the reader's clock, milliseconds since 1970; a node takes what is at most ``MAX_SKEW_MS`` from its own.

Whoever sees a read may ask the same again for as long, and learns what the one who answered has told already: the
time bounds that. It is no login, and a reader has no session with a node. A subscription, which goes on telling, is
told ``FOLLOWED_S`` to who signed, and then signed again: or whoever has seen one would hear all that is still to come.
"""

from typing import Final

from node.errors import CodecError, RefusedError
from node.model.codec import decode, encode, sha256
from node.model.keys import TAG_SIGNED_READ, Signer, Verify

READ_KEY: Final = "watt-read-bin"
MAX_SKEW_MS: Final = 300_000
MAX_READ_BYTES: Final = 256
FOLLOWED_S: Final = 600
"""For how long a subscription that is signed goes on."""
SIGNED_CALLS: Final = frozenset(
    [f"/watt.gateway.v1.Gateway/{call}" for call in ("Query", "Status", "Nonce", "Block", "Subscribe")]
    + [f"/watt.gateway.v1.Snapshots/{call}" for call in ("List", "Chunk", "Blocks")]
)
"""Full names of the calls whose answer depends on the reader: all others are not signed, and not checked."""


def sign_read(signer: Signer, chain: bytes, method: str, request: bytes, time_ms: int) -> bytes:
    """What goes with a call. ``method``: its full name, "/watt.gateway.v1.Gateway/Query"; ``request``: its encoded
    message, exactly as it travels."""
    return encode((signer.public_key, time_ms, signer.sign(_signed(chain, method, request, time_ms))))


def check_read(data: bytes, chain: bytes, method: str, request: bytes, now_ms: int, verify: Verify) -> bytes:
    """The key of whoever signed ``data`` for this call; the other arguments are as for ``sign_read``, as the node has
    them.

    Raises RefusedError: "stale-read", or "bad-read-signature" for everything else that is not right.
    """
    try:
        fields = decode(data) if len(data) <= MAX_READ_BYTES else None
    except CodecError:
        fields = None
    if type(fields) is not tuple or len(fields) != 3:
        raise RefusedError("bad-read-signature", "what signs the read is not a key, a time and a signature")
    key, time_ms, signature = fields
    if type(key) is not bytes or type(time_ms) is not int or type(signature) is not bytes:
        raise RefusedError("bad-read-signature", "what signs the read is not a key, a time and a signature")
    if abs(now_ms - time_ms) > MAX_SKEW_MS:
        away_s = (time_ms - now_ms) // 1000
        raise RefusedError("stale-read", f"the read was signed {away_s} s from this node's time; is the clock right?")
    if not verify(key, _signed(chain, method, request, time_ms), signature):
        raise RefusedError("bad-read-signature", "the key did not sign this question on this chain")
    return key


def _signed(chain: bytes, method: str, request: bytes, time_ms: int) -> bytes:
    return TAG_SIGNED_READ + encode((chain, method, sha256(request), time_ms))
