"""Whose fault is it? The errors of a node, one tree.

    WattError                     everything of ours; has a stable ``code`` and a one-line ``message``
    +-- RefusedError              the request or input is at fault: say so, change nothing, go on
    |   +-- NoRoomError           there is no room for it now; it is told how much has to go before
    |   +-- CodecError            bytes that are not what they claim to be
    |   +-- ConfigError           a configuration, key file or genesis that cannot be used
    +-- PeerError                 a peer broke the protocol: drop what it sent, log it, go on
    +-- NodeFault                 this node can no longer be trusted to vote: stop, say why
        +-- StoreFault            the disk or the database failed (full, corrupt, failed fsync)
        +-- DivergenceFault       this node computed something other than a quorum did

Errors raised by contracts are ``chaincode.contract.ContractError``: they end up in a receipt, never here.
"""


class WattError(Exception):
    """Base of all errors of a node. ``code`` is kebab-case and stable; ``message`` is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class RefusedError(WattError):
    """The input is refused and nothing was changed."""


class NoRoomError(RefusedError):
    """There is no room for a transaction now, code "mempool-full"; ``ahead``: how many have to leave before it is worth
    trying again."""

    def __init__(self, message: str, ahead: int) -> None:
        super().__init__("mempool-full", message)
        self.ahead = ahead


class CodecError(RefusedError):
    """Bytes that cannot be decoded, or are not in canonical form."""


class ConfigError(RefusedError):
    """A configuration, key file, genesis or data directory that cannot be used."""


class PeerError(WattError):
    """A peer sent what no correct peer sends."""


class NodeFault(WattError):
    """The node must stop without voting."""


class StoreFault(NodeFault):
    """The disk or the database failed."""


class DivergenceFault(NodeFault):
    """This node's result differs from what a quorum has certified."""
