"""Chains whose members change: every block is certified by the members of its own epoch."""

from typing import Any

from chaincode.governance import NOTICE, Governance
from chaincode.registry import Registry
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.ledger.store import MemoryStore, Store
from node.model.block import NULL_BATCH, Batch, Header, encode_batch
from node.model.certificate import Certificate, commit_bytes
from node.model.codec import Value, sha256
from node.model.epoch import Epoch
from node.model.genesis import Genesis, Member, Token
from node.model.keys import SigningKey
from node.model.transaction import sign_transaction
from tests.chaincode.town import pem

FOREVER = 2**40
NAMES = ("ada", "bob", "cyd", "dan")


def key_of(what: str) -> SigningKey:
    """A key made from a name: "ada" is a validator's, "admin of ada" its admin's."""
    return SigningKey(sha256(what.encode()))


def make_genesis(names: tuple[str, ...] = NAMES, *, governed: bool = True) -> Genesis:
    members = tuple(Member(name, key_of(name).public_key.hex(), pem(name)) for name in names)
    admins = [[name, key_of(f"admin of {name}").public_key.hex()] for name in names]
    contracts: dict[str, dict[str, Any]] = {"governance": {"admins": admins}} if governed else {}
    return Genesis(1, "epochs", Token("WATT", 9, 1_000_000), members, 0, 1_000, 1, contracts)


def certify(execution: Execution, epoch: Epoch, signers: int | None = None) -> Certificate:
    """The certificate of the epoch's first ``signers`` members, all by default. Keys are found by their public half."""
    return certify_header(execution.block.header, epoch, signers)


def certify_header(header: Header, epoch: Epoch, signers: int | None = None) -> Certificate:
    """The same, of any header."""
    signed = commit_bytes(header.chain, epoch.number, 0, header.height, header.hash)
    members = epoch.members[:signers]
    votes = tuple((index, _signer(member.public_key).sign(signed)) for index, member in enumerate(members))
    return Certificate(epoch.number, 0, header.height, header.hash, votes)


def _signer(public_key: str) -> SigningKey:
    return next(key for key in _keys.values() if key.public_key.hex() == public_key)


_keys = {name: key_of(name) for name in (*NAMES, "eve", "fay", "gus", "new ada", "new bob")}


class EpochChain:
    """A ledger with the contract of governance, and the admins to use it."""

    def __init__(self, store: Store | None = None, genesis: Genesis | None = None) -> None:
        self.store = MemoryStore() if store is None else store
        self.genesis = genesis or make_genesis()
        self.registry = Registry([Governance()])
        self.nonces: dict[str, int] = {}
        self.reopen()

    def reopen(self) -> None:
        """What a restart leaves."""
        self.ledger = Ledger.open(self.store, self.genesis, self.registry)
        self.executor = Executor(self.ledger, self.registry, self.genesis)

    @property
    def height(self) -> int:
        return self.ledger.head.height

    def execute(self, *calls: tuple[str, str, dict[str, Value]]) -> Execution:
        """The next block, of calls (admin of whom, method, arguments); none gives a null batch."""
        raws = []
        for admin, method, args in calls:
            nonce = self.nonces[admin] = self.nonces.get(admin, 0) + 1
            signer = key_of(f"admin of {admin}")
            raws.append(sign_transaction(signer, self.genesis.chain, nonce, "governance", method, args, FOREVER).raw)
        epoch = self.ledger.epoch_at(self.height + 1)
        batch = Batch(self.genesis.chain, epoch.number, 0, self.ledger.head.time + 1, tuple(raws))
        return self.executor.execute(self.height + 1, encode_batch(batch) if raws else NULL_BATCH)

    def add(self, *calls: tuple[str, str, dict[str, Value]]) -> list[str]:
        """Execute a block, commit it; returns the receipts' codes."""
        execution = self.execute(*calls)
        self.ledger.commit(execution, certify(execution, self.ledger.epoch_at(execution.block.header.height)))
        return [receipt.code for receipt in execution.receipts]

    def grow_to(self, height: int) -> None:
        """Null batches up to ``height``."""
        while self.height < height:
            self.add()

    def decide(self, kind: str, name: str, *approvers: str, **args: Any) -> int:
        """Propose and approve a change by ``approvers``, at the nearest height; returns its first height."""
        first = self.height + 2 + NOTICE
        call = {"kind": kind, "name": name, "first_height": first, **args}
        assert self.add((approvers[0], "propose", call)) == ["ok"]
        (row,) = self.query("proposals")
        approval = {"proposal": row[0], "digest": row[1]}
        assert set(self.add(*[(name, "approve", approval) for name in approvers[1:]])) == {"ok"}
        return first

    def query(self, method: str, **args: Value) -> Any:
        return self.executor.query("governance", method, args)


def joining(name: str) -> dict[str, Value]:
    """What a proposal to add ``name`` says besides the name and the height."""
    return {
        "public_key": key_of(name).public_key,
        "tls_certificate": pem(name).encode(),
        "admin_key": key_of(f"admin of {name}").public_key,
        "address": f"{name}.example:7501",
    }
