"""What lies on disk when a node or a command starts: configuration, genesis, keys, vote log, database, evidence."""

import asyncio
import json
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random

from chaincode import grid
from chaincode.registry import Registry
from cli.grid_file import parse_grid
from node.config import load_config
from node.consensus.desk import Desk
from node.consensus.records import read_records
from node.consensus.settings import Settings
from node.errors import CodecError, ConfigError, NodeFault, RefusedError, StoreFault
from node.evidence import check_evidence, dump_evidence, parse_evidence
from node.export import About, Exporter, Import
from node.keyfile import TESTNET, public_key_of, read_passphrase, save_key
from node.ledger import layout
from node.ledger.chain import Ledger
from node.ledger.store import MemoryStore
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.genesis import dump_genesis, parse_genesis
from node.model.keys import SigningKey
from node.model.receipt import decode_events, decode_receipt, decode_results
from node.received import check_receipt, dump_receipt, parse_receipt
from node.snapshot.chunks import checked_entries, packed
from node.snapshot.maker import make_now
from node.snapshot.shelf import MANIFEST_NAME, Shelf, parse_manifest
from node.votelog import LOG_NAME, VoteLog
from testnet.genesis import build_network
from testnet.sim_disk import Fuse, SimDisk
from tests.chaincode.samples import Plain, Sample
from tests.consensus.harness import CHAIN, Cluster, plain_verify
from tests.consensus.proofs import KEYS, MEMBERS
from tests.fuzz.targets import target
from tests.ledger.chains import Chain
from tests.test_evidence import GENESIS, LIES
from tests.test_received import receipt

_SCRATCH = tempfile.TemporaryDirectory(prefix="watt-fuzz-")


def _file(data: bytes) -> Path:
    path = Path(_SCRATCH.name) / "file"
    path.write_bytes(data)
    return path


def _configs() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as scratch:
        return (build_network(Path(scratch) / "net", {}, base_port=None).nodes[0].config_path.read_bytes(),)


@target(ConfigError, seeds=_configs)
def config(data: bytes) -> None:
    load_config(_file(data))


@target(ConfigError, seeds=lambda: (dump_genesis(GENESIS), json.dumps({"contracts": {"a": {"b": [1, "c"]}}}).encode()))
def genesis(data: bytes) -> None:
    found = parse_genesis(data, "file")
    assert len(found.chain) == 32 and found.epoch.members


@target(RefusedError, seeds=lambda: (b"root,t\nrate,0.01\nfrom,to,metres,step,limit_up_w\nt,a,12,,\na,b,3,0.2,9000\n",))
def grid_file(data: bytes) -> None:
    found = parse_grid(data, "file")
    assert len(grid.check(*found).buses) == len(found.lines) + 1


@cache
def _key_file() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "key"
        save_key(path, SigningKey(bytes(32)), "passphrase", TESTNET)
        return (path.read_bytes(),)


@target(ConfigError, seeds=_key_file)
def key_file(data: bytes) -> None:
    public_key_of(_file(data))


@target(ConfigError, seeds=lambda: (b"passphrase\n", b"p\xc3\xa4ss\r\n"))
def passphrase_file(data: bytes) -> None:
    read_passphrase(_file(data))


@target(RefusedError, seeds=lambda: tuple(dump_evidence(document) for document in LIES.values()))
def evidence_file(data: bytes) -> None:
    check_evidence(parse_evidence(data, "file"), GENESIS)


@cache
def _received() -> Chain:
    return Chain()


@cache
def _receipts() -> tuple[bytes, ...]:
    chain = _received()
    tx = chain.tx(1, 1, "add", name="k", amount=1)
    return tuple(dump_receipt(receipt(chain, tx, beside=beside)) for beside in (0, 3))


@target(RefusedError, seeds=_receipts)
def receipt_file(data: bytes) -> None:
    chain = _received()
    check_receipt(parse_receipt(data, "file"), chain.genesis.chain, (chain.genesis.epoch,))


@cache
def _vote_logs() -> tuple[bytes, ...]:
    """As three members' disks have them after a few blocks and a view change; one rewritten."""
    cluster = Cluster(4, timeout_ticks=4)
    cluster.is_traced = False
    for _ in range(2):
        cluster.propose(0)
        cluster.deliver()
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.propose(0)
    cluster.deliver()
    cluster.tick(count=30, pending=True)
    logs = []
    for index in range(3):
        disk = SimDisk(Random(0), Fuse())
        log, _ = VoteLog.open(disk, CHAIN, salt=lambda size: b"\7" * size, rewrite_above_bytes=1)
        for record in cluster.nodes[index].records:
            log.append([record])
        if index == 2:
            log.rewrite(cluster.replica(2).log_snapshot())
        logs.append(disk.read(LOG_NAME) or b"")
    return tuple(logs)


@target(NodeFault, seeds=_vote_logs)
def vote_log(data: bytes) -> None:
    disk = SimDisk(Random(0), Fuse())
    disk.create(LOG_NAME).append(data)
    VoteLog.open(disk, CHAIN, salt=lambda size: b"\7" * size, rewrite_above_bytes=1)


def _records() -> tuple[bytes, ...]:
    cluster = Cluster(4, timeout_ticks=4)
    cluster.is_traced = False
    cluster.propose(0)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.deliver()
    cluster.tick(count=30, pending=True)
    return tuple(record for index in (0, 1) for record in cluster.nodes[index].records)


@target(StoreFault, seeds=_records)
def vote_record(data: bytes) -> None:
    """A record whose frame is sound: no disk makes it, but another program's version could."""
    read_records([data], Desk(Settings(CHAIN, 0, MEMBERS, 0), KEYS[0], plain_verify))


@cache
def _database() -> Chain:
    chain = Chain()
    chain.add(*(chain.tx(sender, 1, "add", name="k", amount=1) for sender in range(4)))
    chain.add(chain.tx(0, 2, "fail", how="mistake"), chain.tx(1, 2, "echo"))
    chain.add_null()
    return chain


def _entries() -> list[tuple[bytes, bytes]]:
    return list(_database().store.scan(b"", b"\xff"))


def _database_seeds() -> tuple[bytes, ...]:
    return tuple(number.to_bytes(2, "big") + value for number, (_, value) in enumerate(_entries()))


@target(ConfigError, StoreFault, seeds=_database_seeds)
def database(data: bytes) -> None:
    """One entry of the database is another: opened, then everything in it is asked for."""
    chain, entries = _database(), _entries()
    store = MemoryStore()
    store.write(dict(entries))
    store.write({entries[int.from_bytes(data[:2], "big") % len(entries)][0]: data[2:]})
    ledger = Ledger.open(store, chain.genesis, Registry([Sample(), Plain()]))
    for height in range(5):
        ledger.block(height), ledger.certificate(height), ledger.receipts(height), ledger.events(height)
    for key, _ in entries:
        if key.startswith(layout.TRANSACTION):
            ledger.find(key[1:])
        elif key.startswith(layout.STATE):
            ledger.state.get(key[1:])
            ledger.prove(key[1:])
    list(ledger.state.scan(b"nonce/", b"nonce0"))
    ledger.epochs(), ledger.boundaries(), ledger.epoch_at(1)


def _results() -> tuple[bytes, ...]:
    return tuple(value for key, value in _entries() if key.startswith(layout.RESULTS))


@target(CodecError, seeds=_results)
def block_results(data: bytes) -> None:
    results = decode_results(data)
    decode_events(results.events)
    for each in results.receipts:
        decode_receipt(each)


@cache
def _exports() -> tuple[bytes, ...]:
    """One answer of an entry that is there and one that is not, of the small chain; all of it in one file."""
    chain = _database()
    file = BytesIO()
    exporter = Exporter(file, About(chain.genesis.chain, False, 0))
    certificate = chain.ledger.head_certificate
    assert certificate is not None
    for name in ("k", "none"):
        _, reads = chain.executor.query_proven("sample", "count", {"name": name})
        asked = "sample", "count", {"name": name}
        exporter.answer(asked, encode_header(chain.ledger.head), encode_certificate(certificate), reads, ())
    exporter.close()
    return (file.getvalue(),)


@target(RefusedError, seeds=_exports)
def export_file(data: bytes) -> None:
    """Whatever is in it, an answer is the true one or none."""
    chain = _database()
    read = Import(BytesIO(data), chain.genesis, Registry([Sample(), Plain()]))
    for name in ("k", "none"):
        answer = asyncio.run(read("sample", "count", {"name": name}))
        assert answer == chain.executor.query("sample", "count", {"name": name})
    read.finish()


@cache
def _manifests() -> tuple[bytes, ...]:
    chain = _database()
    with tempfile.TemporaryDirectory() as scratch:
        make_now(chain.store, chain.ledger, Shelf(Path(scratch)))
        return tuple(path.read_bytes() for path in Path(scratch).glob(f"*/{MANIFEST_NAME}"))


@target(CodecError, seeds=_manifests)
def snapshot_manifest(data: bytes) -> None:
    parse_manifest(data)


def _chunks() -> tuple[bytes, ...]:
    state = [(key[1:], value) for key, value in _entries() if key.startswith(layout.STATE)]
    return (b"".join(packed(key, value) for key, value in state), packed(b"key", b"value"))


@target(CodecError, seeds=_chunks)
def snapshot_chunk(data: bytes) -> None:
    checked_entries("", b"", data)
