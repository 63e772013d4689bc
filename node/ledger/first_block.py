"""Block 0: the state that the contracts make from their parts of the genesis document."""

from typing import Any

from chaincode.contract import Context, ContractError, Value
from chaincode.governance import Governance
from chaincode.registry import Registry
from node.errors import ConfigError
from node.ledger.execution import Execution, Position, finish
from node.ledger.state import WorldState
from node.ledger.tree import Tree
from node.model.block import NULL_BATCH, NULL_DIGEST
from node.model.codec import sha256
from node.model.genesis import Genesis
from node.model.keys import TAG_HOOK, verify
from node.model.merkle_list import EMPTY_ROOT
from node.model.receipt import encode_event

GENESIS_STEPS = 100_000_000


def first_block(genesis: Genesis, registry: Registry, state: WorldState, tree: Tree) -> Execution:
    """The block at height 0; it has no transactions, and nobody certifies it: everybody computes it.

    Raises ConfigError("bad-genesis") if a contract refuses its settings, or settings name no contract.
    """
    unknown = genesis.contracts.keys() - {contract.name for contract in registry.contracts}
    if unknown:
        raise ConfigError("bad-genesis", f"there is no contract {min(unknown)!r}")
    overlay = state.overlay()
    ctx = Context(
        overlay,
        chain=genesis.chain,
        height=0,
        time=genesis.time_origin,
        previous_time=genesis.time_origin,
        sender=b"",
        tx_id=sha256(TAG_HOOK, b"genesis"),
        step_limit=GENESIS_STEPS,
        verifier=verify,
    )
    overlay.begin()
    try:
        registry.genesis(ctx, _settings(genesis))
    except ContractError as error:
        raise ConfigError("bad-genesis", f"{ctx.contract}: {error}") from error
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:  # not what it takes apart
        raise ConfigError(
            "bad-genesis", f"{ctx.contract}: settings of a wrong form ({type(error).__name__}: {error})"
        ) from error
    overlay.keep()
    epoch = genesis.epoch
    position = Position(
        chain=genesis.chain,
        epoch=epoch.number,
        height=0,
        parent_hash=bytes(32),
        batch_digest=NULL_DIGEST,
        time=genesis.time_origin,
        tx_root=EMPTY_ROOT,
        members_hash=epoch.hash,
        next_members_hash=epoch.hash,
    )
    return finish(position, NULL_BATCH, (), (), [(event, encode_event(event)) for event in ctx.events], overlay, tree)


def _settings(genesis: Genesis) -> dict[str, dict[str, Value]]:
    """Every contract's part. Governance is also told who the members are; to name them twice would be to contradict."""
    settings = {name: _plain_settings(name, part) for name, part in genesis.contracts.items()}
    if Governance.name in settings:
        members = [(member.name, member.public_key, member.tls_certificate) for member in genesis.members]
        settings[Governance.name]["validators"] = tuple(members)
    return settings


def _plain_settings(contract: str, settings: dict[str, Any]) -> dict[str, Value]:
    return {name: _plain(value, f"{contract}.{name}") for name, value in settings.items()}


def _plain(value: Any, label: str) -> Value:
    """JSON as a state value: arrays become tuples; numbers are integers."""
    if isinstance(value, list | tuple):
        return tuple([_plain(item, label) for item in value])
    if value is None or isinstance(value, bool | int | str):
        return value
    raise ConfigError("bad-genesis", f"{label}: a {type(value).__name__} is no setting")
