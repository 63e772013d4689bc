"""The vote log keeps what it promised through every crash that a disk may suffer (checklist 35, 36, 58)."""

import errno
from pathlib import Path
from random import Random

import pytest

from node import votelog
from node.errors import NodeFault, StoreFault
from node.files import OsDirectory
from node.votelog import ASIDE_NAME, LOG_NAME, MOST_ASIDE, VoteLog
from testnet.sim_disk import Crash, Fuse, SimDisk

CHAIN = b"c" * 32
LOST = (b"memory is lost",)


def open_log(directory: OsDirectory | SimDisk) -> tuple[VoteLog, list[bytes]]:
    return VoteLog.open(directory, CHAIN, lost_records=LOST, salt=lambda size: b"\7" * size, rewrite_above_bytes=200)


def new_log(path: Path) -> tuple[VoteLog, list[bytes]]:
    """The log of a node that has never run."""
    VoteLog.create(OsDirectory(path))
    return open_log(OsDirectory(path))


def test_records_come_back_in_order(tmp_path: Path) -> None:
    log, records = new_log(tmp_path / "log")
    assert records == []
    log.append([b"one", b""])
    log.append([b"three" * 1000])
    log.close()
    _, records = open_log(OsDirectory(tmp_path / "log"))
    assert records == [b"one", b"", b"three" * 1000]


def test_a_rewritten_log_holds_the_new_records_alone_and_grows_on(tmp_path: Path) -> None:
    log, _ = new_log(tmp_path)
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
    log, _ = new_log(tmp_path)
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
    log, _ = new_log(tmp_path)
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
        log, records = open_log(OsDirectory(tmp_path))
        log.close()
        assert records == list(LOST)
        aside = tmp_path / (ASIDE_NAME + "1")
        assert aside.read_bytes() == broken  # evidence: as it was found
        assert log.set_aside == f"votes.log is damaged at byte {size}, before sound records; it is kept as {aside.name}"
        aside.unlink()


def test_that_memory_is_lost_is_in_the_new_log_from_the_start(tmp_path: Path) -> None:
    """Checklist 36: crashing again before the node may vote does not make it forget that it has forgotten."""
    (tmp_path / LOG_NAME).write_bytes(b"rot" * 100)
    for restart in range(3):
        log, records = open_log(OsDirectory(tmp_path))
        assert (records, bool(log.set_aside)) == (list(LOST), restart == 0)
        log.close()


def test_a_first_start_finds_a_log_and_a_wiped_disk_has_none(tmp_path: Path) -> None:
    """Checklist 36."""
    first, records = new_log(tmp_path / "new")
    assert (records, first.set_aside) == ([], "")
    gone, records = open_log(OsDirectory(tmp_path / "gone"))
    assert (records, gone.set_aside) == (list(LOST), "votes.log is missing")


def test_votes_of_an_older_epoch_are_dropped_and_of_a_later_one_set_aside(tmp_path: Path) -> None:
    """Checklist 47: the log of a node that died between an epoch's last block and the log's rewriting; and a ledger
    that is older than its log, as after restoring one without the other."""

    def opened(epoch: int) -> tuple[VoteLog, list[bytes]]:
        log, records = VoteLog.open(OsDirectory(tmp_path), CHAIN, epoch, lost_records=LOST)
        log.close()
        return log, records

    log, _ = new_log(tmp_path)
    log.append([b"old"])
    log.close()
    assert opened(0)[1] == [b"old"]
    log, records = opened(1)
    assert (records, log.set_aside) == ([], "")
    log, _ = VoteLog.open(OsDirectory(tmp_path), CHAIN, 1)
    log.rewrite([*LOST, b"old"])
    log.close()
    assert opened(2)[1] == list(LOST)
    log, _ = VoteLog.open(OsDirectory(tmp_path), CHAIN, 2)
    log.rewrite([b"new"], epoch=2)
    log.close()
    assert opened(2)[1] == [b"new"]
    log, records = opened(1)
    assert records == list(LOST)
    assert "of epoch 2" in log.set_aside and log.set_aside.endswith("votes.log.damaged-1")


def test_only_so_many_damaged_logs_are_kept(tmp_path: Path) -> None:
    for number in range(MOST_ASIDE + 3):
        (tmp_path / LOG_NAME).write_bytes(b"%d" % number)
        open_log(OsDirectory(tmp_path))[0].close()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [LOG_NAME, *(f"{ASIDE_NAME}{number}" for number in range(1, MOST_ASIDE + 1))]


def test_a_frame_inside_a_torn_record_does_not_pass_for_a_sound_one(tmp_path: Path) -> None:
    """Somebody puts a whole frame, as a log of another salt would hold it, into a transaction; and has even guessed how
    frames begin."""
    salt = b"\7" * 4 + b"\1" * 4
    other, _ = VoteLog.open(OsDirectory(tmp_path / "other"), CHAIN, salt=lambda size: salt)
    other.append([b"a"])
    other.append([b"b"])
    planted = (tmp_path / "other" / LOG_NAME).read_bytes()
    log, _ = new_log(tmp_path / "log")
    log.append([planted + b"rest"])
    path = tmp_path / "log" / LOG_NAME
    path.write_bytes(path.read_bytes()[:-1])
    assert open_log(OsDirectory(tmp_path / "log"))[1] == []


def test_the_search_for_sound_frames_in_a_torn_one_cannot_be_made_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Checklist 36: a transaction full of beginnings of frames; each that is looked at costs as much as its length."""
    log, _ = new_log(tmp_path)
    log.append([b"one"])
    begun = b"VOTE" + (100_000).to_bytes(4, "big") + (50).to_bytes(8, "big") + bytes(4)
    log.append([begun * 10_000])
    log.close()
    path = tmp_path / LOG_NAME
    path.write_bytes(path.read_bytes()[:-1])
    checked: list[int] = []

    def checksum(salt: bytes, sequence: int, payload: bytes) -> int:
        checked.append(len(payload))
        return real(salt, sequence, payload)

    real = votelog._checksum
    monkeypatch.setattr(votelog, "_checksum", checksum)
    log, records = open_log(OsDirectory(tmp_path))
    assert (records, log.set_aside, log.torn_bytes > 200_000) == ([b"one"], "", True)
    assert len(checked) == 1


def test_a_log_of_another_chain_is_refused_and_garbage_set_aside(tmp_path: Path) -> None:
    new_log(tmp_path)
    with pytest.raises(NodeFault, match="vote-log-other-chain"):
        VoteLog.open(OsDirectory(tmp_path), b"d" * 32)
    for garbage in (b"", b"garbage", b"garbage" * 100):
        (tmp_path / LOG_NAME).write_bytes(garbage)
        log, records = open_log(OsDirectory(tmp_path))
        assert (records, "header" in log.set_aside) == (list(LOST), True)


def test_after_a_failed_sync_nothing_is_written_any_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Checklist 58."""
    log, _ = new_log(tmp_path)

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
    VoteLog.create(disk)
    promised: list[bytes] = []  # every record whose append returned
    possible: list[list[bytes]] = [[]]  # what the log may hold
    number = 0
    for _ in range(6):
        fuse.left = dice.randint(0, 40)
        try:
            log, found = open_log(disk)
            assert not log.set_aside
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
