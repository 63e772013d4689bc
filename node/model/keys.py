"""Ed25519 keys, signatures and digests with their domain tags.

One verifier for all nodes: libsodium, through pynacl. It refuses small-order public keys, which other
libraries accept; two verifiers that disagree on one signature would fork the chain.
"""

from typing import Protocol

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32

# Every digest and every signed message starts with a tag of its own, so that nothing signed for one
# purpose is ever valid for another.
TAG_TX_ID = b"watt/tx-id/1\0"
TAG_TX_DIGEST = b"watt/tx-digest/1\0"
TAG_TX_SIGN = b"watt/tx-sign/1\0"
TAG_BATCH = b"watt/batch/1\0"
TAG_BLOCK = b"watt/block/1\0"
TAG_MEMBERS = b"watt/members/1\0"
TAG_VOTE = b"watt/vote/1\0"
TAG_GENESIS = b"watt/genesis/1\0"
TAG_RECEIPT = b"watt/receipt/1\0"
TAG_EVENT = b"watt/event/1\0"
TAG_BLIND = b"watt/blind/1\0"
TAG_BLINDS = b"watt/blinds/1\0"
TAG_ENTRY = b"watt/entry/1\0"
TAG_HOOK = b"watt/hook/1\0"
TAG_ORDER_ALIAS = b"watt/order-alias/1\0"
TAG_SIGNED_READ = b"watt/signed-read/1\0"
TAG_RECEIVED = b"watt/received/1\0"


class Verify(Protocol):
    """True if ``signature`` (64 bytes) over ``message`` was made by the holder of ``public_key``."""

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool: ...


class Signer(Protocol):
    """Signs with one key. The real one is ``SigningKey``; the simulator's remembers what it signed."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


class SigningKey:
    """An Ed25519 key pair made from a 32-byte seed. What prints it shows the public half."""

    __slots__ = ("_secret", "public_key", "seed")

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.public_key, self._secret = sodium.crypto_sign_seed_keypair(seed)

    def __repr__(self) -> str:
        return f"<SigningKey {self.public_key.hex()}>"

    def sign(self, message: bytes) -> bytes:
        """The 64-byte detached signature of ``message``."""
        return sodium.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]


def generate_key() -> SigningKey:
    """A new key from the operating system's randomness."""
    return SigningKey(sodium.randombytes(SEED_BYTES))


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the key's over ``message``; malformed input is False, never an error."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        sodium.crypto_sign_open(signature + message, public_key)
    except (CryptoError, ValueError):
        return False
    return True
