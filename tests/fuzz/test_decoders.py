"""No bytes from outside end in anything but a documented refusal, or take memory or time out of proportion.

Checklist 53, 59. Each example is a valid input after some changes: cut, flipped, spliced, with huge lengths, or nested
deep.
"""

import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import clients, files, peers
from tests.fuzz.mutate import DEEP, HUGE, spoiled
from tests.fuzz.targets import TARGETS, Target

assert clients and files and peers  # their targets are in the table now

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
