"""What a node says that it has: a snapshot's certified header, the upper nodes of its tree. Believed when checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from node.epochs import header_fault
from node.errors import CodecError
from node.model.block import Header, decode_header
from node.model.certificate import Certificate, decode_certificate
from node.model.epoch import Epoch
from node.model.keys import Verify
from node.snapshot.chunks import MAX_DEPTH, checked_upper, tops


class Offer(NamedTuple):
    """A snapshot as a node offers it: encoded header and certificate, depth, the nodes above it (``chunks.listed``)."""

    header: bytes
    certificate: bytes
    depth: int
    nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """What a header is checked by: the chain, its epochs from genesis on, and a way to check a signature."""

    chain: bytes
    epochs: Sequence[Epoch]
    verify: Verify

    def certified(self, header: bytes, certificate: bytes) -> tuple[Header, Certificate]:
        """The header and the certificate, if a quorum of the height's members has signed the one in the other.

        Raises CodecError: "malformed", "non-canonical", "wrong-chain", "bad-certificate".
        """
        decoded, proof = decode_header(header), decode_certificate(certificate)
        if decoded.chain != self.chain:
            raise CodecError("wrong-chain", f"a header of chain {decoded.chain.hex()[:16]}")
        fault = header_fault(self.chain, self.epochs, decoded, proof, self.verify)
        if fault is not None:
            raise CodecError("bad-certificate", f"block {decoded.height} is not proven: {fault}")
        return decoded, proof


@dataclass(frozen=True, slots=True)
class Target:
    """A checked offer. ``upper``: the tree's nodes above ``depth`` by path; ``tops``: chunks by prefix, as
    ``chunks.tops`` gives them."""

    header: Header
    certificate: Certificate
    depth: int
    upper: Mapping[str, bytes]
    tops: Mapping[str, bytes]

    @property
    def height(self) -> int:
        """The height of the block whose state it is."""
        return self.header.height

    @property
    def name(self) -> tuple[int, bytes, int]:
        """What two offers have in common whose chunks are the same bytes: height, state root, depth."""
        return self.header.height, self.header.state_root, self.depth


def checked_offer(offer: Offer, trust: Trust) -> Target:
    """The offer, if all of it follows from members' signatures. Raises CodecError as ``certified``, "wrong-hash"."""
    if not 1 <= offer.depth <= MAX_DEPTH:
        raise CodecError("malformed", f"a snapshot in chunks of depth {offer.depth}")
    header, certificate = trust.certified(offer.header, offer.certificate)
    upper = checked_upper(header.state_root, offer.depth, offer.nodes)
    return Target(header, certificate, offer.depth, upper, tops(upper, offer.depth))
