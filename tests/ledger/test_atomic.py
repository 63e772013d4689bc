"""Block, state and the table of nonces change together or not at all, wherever the machine stops. (Checklist 27)"""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from node.ledger.store import LevelStore, MemoryStore
from tests.ledger.chains import SENDERS, Chain

BLOCKS = 12


class StoppingStore(MemoryStore):
    """Memory that holds what was written, up to the write at which the machine stops, before it or after it."""

    def __init__(self, stop_at: int, is_done: bool) -> None:
        super().__init__()
        self.writes = 0
        self._stop_at = stop_at
        self._is_done = is_done

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        self.writes += 1
        if self.writes != self._stop_at:
            super().write(puts)
            return
        if self._is_done:
            super().write(puts)
        raise KeyboardInterrupt


def grow(chain: Chain) -> None:
    """One block after another; the n-th uses the first sender's nonce n and adds n to a counter."""
    for number in range(chain.ledger.head.height + 1, BLOCKS + 1):
        chain.add(chain.tx(0, number, "add", name="a", amount=number))


def expect_consistent(chain: Chain) -> int:
    """All that a block changes tells of the same height, which is returned."""
    ledger = chain.ledger
    height = ledger.head.height
    assert ledger.highest_nonce(SENDERS[0].public_key) == height
    assert not height or chain.executor.query("sample", "count", {"name": "a"}) == height * (height + 1) // 2
    assert ledger.tree.root == ledger.head.state_root
    for stored in range(1, height + 1):
        tx = chain.tx(0, stored, "add", name="a", amount=stored)
        place = ledger.find(tx.id)
        assert place is not None and place[0] == stored and ledger.certificate(stored) is not None
    assert ledger.block(height + 1) is None and ledger.certificate(height + 1) is None
    return height


@pytest.mark.parametrize("is_done", [False, True])
def test_the_machine_stops_at_any_write(is_done: bool) -> None:
    """Checklist 27: one write a block; what a restart finds is the block before it, or the block, as a whole."""
    counting = StoppingStore(0, False)
    grow(Chain(counting))
    assert counting.writes == BLOCKS + 1  # and block 0
    for stop_at in range(2, counting.writes + 1):
        store = StoppingStore(stop_at, is_done)
        chain = Chain(store)
        with pytest.raises(KeyboardInterrupt):
            grow(chain)
        chain.reopen()
        assert expect_consistent(chain) == stop_at - 2 + is_done
        grow(chain)
        assert expect_consistent(chain) == BLOCKS


def test_a_process_that_is_killed_while_it_stores(tmp_path: Path) -> None:
    """Checklist 27: the same with LevelDB and kill -9, again and again on one database."""
    script = (
        "import sys; from pathlib import Path; from node.ledger.store import LevelStore; "
        "from tests.ledger.chains import Chain; p = Path(sys.argv[1]); "
        "chain = Chain(LevelStore(p, create=not p.exists())); print('open', flush=True)\n"
        "while True:\n"
        "    n = chain.ledger.head.height + 1\n"
        "    chain.add(chain.tx(0, n, 'add', name='a', amount=n))\n"
    )
    path = tmp_path / "db"
    reached = -1
    for pause_s in (0.02, 0.11, 0.05, 0.17):
        writer = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
        try:
            assert writer.stdout is not None and writer.stdout.readline() == b"open\n"
            time.sleep(pause_s)
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        store = LevelStore(path, create=False)
        height = expect_consistent(Chain(store))
        store.close()
        assert height >= reached
        reached = height
    assert reached > 0
