"""No bytes from outside end in anything but a documented refusal, or take memory or time out of proportion.

Checklist 53, 59. Each example is a valid input after some changes: cut, flipped, spliced, with huge lengths, or nested
deep.
"""

import time
import tracemalloc

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.gateway.codes import CODE_KEY, RETRY_KEY, NotNowError, error_from
from node.model.genesis import dump_genesis
from protos import gateway_pb2 as pb
from tests.fuzz import certificates, clients, files, peers
from tests.fuzz.mutate import DEEP, HUGE, spoiled
from tests.fuzz.targets import TARGETS, Target
from tests.test_evidence import GENESIS

assert certificates and clients and files and peers  # their targets are in the table now

EXAMPLES = 100
SLOWEST_S = 2.0
MAX_BYTES = 48 * 1024 * 1024
"""What one input of a megabyte may make a decoder allocate."""


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_are_taken(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    assert any(target(seed) for seed in seeds) or name == "snapshot-chunk"  # which no chunk without its place passes


@pytest.mark.parametrize("name", TARGETS)
def test_spoiled_inputs_are_refused_and_nothing_worse(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.one_of(spoiled(seeds), st.binary(max_size=200)))
    def refused(data: bytes) -> None:
        began = time.thread_time()
        target(data)
        assert time.thread_time() - began < SLOWEST_S

    refused()


def bombs(target: Target) -> list[bytes]:
    """In place of each seed's parts, and alone: lengths of 4 GiB, and nesting deeper than any stack."""
    found = list(HUGE + DEEP)
    for seed in target.seeds()[:2]:
        for at in {0, 2, len(seed) // 2}:
            found += [seed[:at] + bomb + seed[at:] for bomb in HUGE + DEEP[::3]]
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_no_length_and_no_depth_takes_memory(name: str) -> None:
    target = TARGETS[name]
    inputs = bombs(target)
    target(inputs[0])  # what is made once is no bomb's doing
    tracemalloc.start()
    try:
        for data in inputs:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            target(data)
            assert tracemalloc.get_traced_memory()[1] - before < MAX_BYTES
    finally:
        tracemalloc.stop()


def _genesis(settings: bytes) -> bytes:
    return dump_genesis(GENESIS).replace(b'"contracts": {}', b'"contracts": {"a": {"b": ' + settings + b"}}")


FOUND: list[tuple[str, bytes]] = [
    ("genesis", _genesis(b"[" * 5_000 + b"]" * 5_000)),
    ("genesis", _genesis(b"9" * 30)),
    ("config", b"a = " + b"[" * 5_000),
    ("database", b"\0\1" + b"\xff" * 20),
    ("block-results", b"\x92\x90\xc4\x01\x7e"),
    ("block-results", b"\x92\x01\xc4\x01\x90"),
    ("status-answer", pb.StatusReply(state=7).SerializeToString()),  # type: ignore[arg-type]
    (
        "status-answer",
        pb.StatusReply(state=pb.StatusReply.COMMITTED, details=b"\x01", result=b"\xc0").SerializeToString(),
    ),
    ("info-answer", pb.NodeInfoReply(token_decimals=2**62).SerializeToString()),
    ("events-answer", pb.BlockEvents(transaction_digests=b"short").SerializeToString()),
]
"""What was found by fuzzing, or by looking for more of the kind, and mended."""


@pytest.mark.parametrize(("name", "data"), FOUND, ids=[name for name, _ in FOUND])
def test_what_was_found_stays_mended(name: str, data: bytes) -> None:
    assert not TARGETS[name](data)


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\0\0\0\x08\0", b"\xff" * 40], ids=bytes.hex)
def test_any_entry_of_a_database_may_be_garbage(garbage: bytes) -> None:
    """A node of the state tree that claims children and has none was found this way."""
    target = TARGETS["database"]
    for number in range(len(target.seeds())):
        target(number.to_bytes(2, "big") + garbage)


def test_a_wait_that_is_no_number_is_not_waited_for() -> None:
    """A gateway says "not now" with milliseconds to wait; a lie neither stops a client nor drives it in circles."""
    for said, expected in (("250", 250), ("0", 1), ("-5", None), ("1e9", None), ("9" * 30, None), ("", None)):
        metadata = Metadata((CODE_KEY, "busy"), (RETRY_KEY, said))
        failure = AioRpcError(StatusCode.RESOURCE_EXHAUSTED, Metadata(), metadata, "busy")
        error = error_from(failure)
        assert (error.retry_ms if isinstance(error, NotNowError) else None) == expected
