"""Who the members are at every height, for those who have the genesis document and trust nobody.

The members of epoch 0 stand in the genesis. The last block of each epoch names the next one's by their hash, and is
certified by its own; so a list of *boundaries* (``node/model/epoch.py``) proves all epochs, each by the one before.
"""

from collections.abc import Iterable, Sequence

from node.consensus.quorum import quorum
from node.errors import CodecError, RefusedError
from node.model.block import Header, decode_header
from node.model.certificate import Certificate, certificate_fault, decode_certificate
from node.model.epoch import Boundary, Epoch, members_hash
from node.model.genesis import Genesis
from node.model.keys import Verify


def header_fault(
    chain: bytes, epochs: Sequence[Epoch], header: Header, certificate: Certificate, verify: Verify
) -> str | None:
    """None if the certificate proves the header of a block of one of ``epochs``, which are numbered from 0, else what
    is wrong. Whether they are all of the epochs up to the newest does not matter: each names its own number."""
    if header.chain != chain:
        return "the block is of another chain"
    if not 0 <= header.epoch < len(epochs):
        return f"the block is of epoch {header.epoch}, which is not proven"
    epoch = epochs[header.epoch]
    following = epochs[header.epoch + 1].first_height if header.epoch + 1 < len(epochs) else None
    if header.height < epoch.first_height or (following is not None and header.height >= following):
        return f"height {header.height} is not of epoch {header.epoch}"
    if header.members_hash != epoch.hash:
        return f"the block names other members than those of epoch {header.epoch}"
    if certificate.height != header.height:
        return f"the certificate is of height {certificate.height}"
    if certificate.block_hash != header.hash:
        return "the certificate is of another block"
    if certificate.epoch != header.epoch:
        return f"the certificate is of epoch {certificate.epoch}, the block of epoch {header.epoch}"
    return certificate_fault(certificate, chain, epoch.keys, quorum(len(epoch.members)), verify)


def verified_epochs(genesis: Genesis, boundaries: Iterable[Boundary], verify: Verify) -> tuple[Epoch, ...]:
    """The epochs that ``boundaries`` prove, epoch 0 first. Raises RefusedError("bad-epochs") if one proves nothing."""
    epochs = [genesis.epoch]
    for boundary in boundaries:
        epochs.append(next_epoch(genesis.chain, epochs, boundary, verify))
    return tuple(epochs)


def next_epoch(chain: bytes, epochs: Sequence[Epoch], boundary: Boundary, verify: Verify) -> Epoch:
    """The epoch after the last of ``epochs``, by its boundary. Raises RefusedError("bad-epochs")."""
    number = len(epochs)
    try:
        header, certificate = decode_header(boundary.header), decode_certificate(boundary.certificate)
    except CodecError as error:
        raise _bad(number, f"its boundary cannot be read: {error}") from error
    if header.epoch != number - 1:
        raise _bad(number, f"its boundary is of epoch {header.epoch}")
    fault = header_fault(chain, epochs, header, certificate, verify)
    if fault is None and header.next_members_hash == header.members_hash:
        fault = f"block {header.height} is not the last of its epoch"
    if fault is None and header.next_members_hash != members_hash(boundary.members):
        fault = f"block {header.height} names other members"
    if fault is not None:
        raise _bad(number, fault)
    return Epoch(number, header.height + 1, boundary.members)


def _bad(number: int, why: str) -> RefusedError:
    return RefusedError("bad-epochs", f"epoch {number} is not proven: {why}")
