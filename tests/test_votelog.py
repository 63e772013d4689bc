"""The vote log keeps what it promised through every crash that a disk may suffer (checklist 35, 36, 58)."""

import errno
from pathlib import Path
from random import Random

import pytest

from node.errors import NodeFault, StoreFault
from node.votelog import LOG_NAME, OsDirectory, VoteLog
from testnet.sim_disk import Crash, Fuse, SimDisk

CHAIN = b"c" * 32


def open_log(directory: OsDirectory | SimDisk) -> tuple[VoteLog, list[bytes]]:
    return VoteLog.open(directory, CHAIN, salt=lambda size: b"\7" * size, rewrite_above_bytes=200)


def test_records_come_back_in_order(tmp_path: Path) -> None:
    log, records = open_log(OsDirectory(tmp_path / "log"))
    assert records == []
    log.append([b"one", b""])
    log.append([b"three" * 1000])
    log.close()
    _, records = open_log(OsDirectory(tmp_path / "log"))
    assert records == [b"one", b"", b"three" * 1000]


def test_a_rewritten_log_holds_the_new_records_alone_and_grows_on(tmp_path: Path) -> None:
    log, _ = open_log(OsDirectory(tmp_path))
    wanted = [log.wants_rewrite]
    log.append([b"x" * 300])
    wanted.append(log.wants_rewrite)
    log.rewrite([b"kept"])
    wanted.append(log.wants_rewrite)
    assert wanted == [False, True, False]
    log.append([b"new"])
    log.close()
    log, records = open_log(OsDirectory(tmp_path))
    assert records == [b"kept", b"new"]
    log.rewrite([])
    log.close()
    assert open_log(OsDirectory(tmp_path))[1] == []


@pytest.mark.parametrize("cut", range(1, 45))
def test_a_torn_tail_is_cut_off_and_the_log_goes_on(tmp_path: Path, cut: int) -> None:
    """Checklist 36."""
    log, _ = open_log(OsDirectory(tmp_path))
    log.append([b"first"])
    log.append([b"second, to be torn"])
    log.close()
    path = tmp_path / LOG_NAME
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    log, records = open_log(OsDirectory(tmp_path))
    assert records == [b"first"] if cut <= 42 else records in ([b"first"], [])
    assert log.torn_bytes == len(data) - cut - log.size_bytes
    log.append([b"third"])
    log.close()
    log, again = open_log(OsDirectory(tmp_path))
    assert (again, log.torn_bytes) == ([*records, b"third"], 0)


def test_a_bad_frame_before_a_sound_one_is_no_torn_tail(tmp_path: Path) -> None:
    log, _ = open_log(OsDirectory(tmp_path))
    log.append([b"first"])
    size = log.size_bytes
    log.append([b"second"])
    log.append([b"third"])
    log.close()
    path = tmp_path / LOG_NAME
    data = bytearray(path.read_bytes())
    for offset in range(size, size + 30):
        broken = data.copy()
        broken[offset] ^= 0x40
        path.write_bytes(broken)
        with pytest.raises(NodeFault, match="vote-log-corrupt"):
            open_log(OsDirectory(tmp_path))
        assert path.read_bytes() == broken  # evidence: left as it was found


def test_a_frame_inside_a_torn_record_does_not_pass_for_a_sound_one(tmp_path: Path) -> None:
    """Somebody puts a whole frame, as a log of another salt would hold it, into a transaction."""
    other, _ = VoteLog.open(OsDirectory(tmp_path / "other"), CHAIN, salt=lambda size: b"\1" * size)
    other.append([b"a"])
    other.append([b"b"])
    planted = (tmp_path / "other" / LOG_NAME).read_bytes()
    log, _ = open_log(OsDirectory(tmp_path / "log"))
    log.append([planted + b"rest"])
    path = tmp_path / "log" / LOG_NAME
    path.write_bytes(path.read_bytes()[:-1])
    assert open_log(OsDirectory(tmp_path / "log"))[1] == []


def test_a_log_of_another_chain_or_format_is_refused(tmp_path: Path) -> None:
    open_log(OsDirectory(tmp_path))
    with pytest.raises(NodeFault, match="vote-log-other-chain"):
        VoteLog.open(OsDirectory(tmp_path), b"d" * 32)
    (tmp_path / LOG_NAME).write_bytes(b"garbage")
    with pytest.raises(NodeFault, match="vote-log-corrupt"):
        open_log(OsDirectory(tmp_path))
    (tmp_path / LOG_NAME).write_bytes(b"garbage" * 100)
    with pytest.raises(NodeFault, match="vote-log-corrupt"):
        open_log(OsDirectory(tmp_path))


def test_after_a_failed_sync_nothing_is_written_any_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Checklist 58."""
    log, _ = open_log(OsDirectory(tmp_path))

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fdatasync", no_space)
    with pytest.raises(StoreFault, match=r"vote-log-failed: .*No space left"):
        log.append([b"x"])
    monkeypatch.undo()
    with pytest.raises(StoreFault, match="vote-log-failed"):
        log.append([b"y"])
    with pytest.raises(StoreFault, match="vote-log-failed"):
        log.rewrite([b"y"])


@pytest.mark.parametrize("seed", range(300))
def test_whatever_the_disk_forgets_what_was_appended_stays(seed: int) -> None:
    """Crash at any operation, with and without power loss, again and again: the log holds every record whose
    append returned, then perhaps the one under way; a rewriting is there as a whole or not at all."""
    dice = Random(seed)
    fuse = Fuse()
    disk = SimDisk(dice, fuse)
    promised: list[bytes] = []  # every record whose append returned
    possible: list[list[bytes]] = [[]]  # what the log may hold
    number = 0
    for _ in range(6):
        fuse.left = dice.randint(0, 40)
        try:
            log, found = open_log(disk)
            assert found in possible, (found, possible)
            promised, possible = found, [found]
            while True:
                number += 1
                if log.wants_rewrite or dice.random() < 0.1:
                    kept = promised[-2:]
                    possible = [promised, kept]
                    log.rewrite(kept)
                    promised = kept
                else:
                    record = b"%d" % number * dice.randint(1, 30)
                    possible = [promised, [*promised, record]]
                    log.append([record])
                    promised = [*promised, record]
                possible = [promised]
        except Crash:
            disk.crash(power_loss=dice.random() < 0.7)
