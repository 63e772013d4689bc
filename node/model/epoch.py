"""Epochs: who the members are, and from which height on.

Membership changes at a stated height. All blocks from an epoch's first height to the one before the next epoch's are
proposed and certified by its members, and by nobody else.
"""

import msgspec


class Validator(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A member that votes. ``public_key``: Ed25519, hex; ``tls_certificate``: the PEM that its links are pinned to."""

    name: str
    public_key: str
    tls_certificate: str


class Epoch(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``first_height``: of the epoch's first block; 1 for epoch 0, to which block 0 belongs too. A member's index is
    its place in ``members``; it means nothing in another epoch."""

    number: int
    first_height: int
    members: tuple[Validator, ...]

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The members' public keys by index."""
        return tuple([bytes.fromhex(member.public_key) for member in self.members])

    @property
    def base(self) -> int:
        """The height of the last block before this epoch: what its first block stands on."""
        return self.first_height - 1

    def index_of(self, name: str) -> int | None:
        """The index of the member with this name, or None if it is no member in this epoch."""
        return next((index for index, member in enumerate(self.members) if member.name == name), None)
