"""Both stores do the same; LevelDB says in one line what is wrong with a directory."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.errors import ConfigError, StoreFault
from node.ledger.store import LevelStore, MemoryStore, Store


@pytest.fixture(params=["level", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else LevelStore(tmp_path / "db", create=True)
    yield made
    made.close()


def test_reads_back_what_was_written_in_order(store: Store) -> None:
    store.write({b"b": b"2", b"a": b"1", b"c": b"3", b"d": b""})
    store.write({b"b": None, b"x": None, b"c": b"4"})
    assert store.get(b"a") == b"1"
    assert store.get(b"b") is None
    assert store.get(b"d") == b""
    assert list(store.scan(b"a", b"d")) == [(b"a", b"1"), (b"c", b"4")]
    assert list(store.scan(b"a", b"\xff", reverse=True)) == [(b"d", b""), (b"c", b"4"), (b"a", b"1")]
    assert list(store.scan(b"b", b"b")) == []


def test_a_copy_of_memory_goes_its_own_way() -> None:
    store = MemoryStore()
    store.write({b"a": b"1"})
    copy = store.copy()
    store.write({b"a": b"2"})
    assert copy.get(b"a") == b"1"


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    store = LevelStore(tmp_path / "db", create=True)
    store.write({b"a": b"1"})
    store.close()
    store = LevelStore(tmp_path / "db", create=False)
    assert store.get(b"a") == b"1"
    store.close()


def refusal(path: Path, *, create: bool) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        LevelStore(path, create=create)
    assert str(path) in error.value.message
    return error.value


def test_no_database(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none", create=False).code == "db-missing"
    assert not (tmp_path / "none").exists()


def test_a_database_in_use(tmp_path: Path) -> None:
    store = LevelStore(tmp_path / "db", create=True)
    assert refusal(tmp_path / "db", create=False).code == "db-locked"
    store.close()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("not a directory")
    assert refusal(tmp_path / "db", create=True).code == "db-unusable"


@contextmanager
def no_room(file_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the nearest thing to a full disk that needs no disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", ["MANIFEST-000004", "000005.log", "LOG", "CURRENT"])
def test_a_link_in_a_database_leads_nowhere(tmp_path: Path, name: str) -> None:
    """LevelDB would write over what it leads to, as soon as it opens the database."""
    LevelStore(tmp_path / "db", create=True).close()
    (tmp_path / "mine").write_bytes(b"precious")
    (tmp_path / "db" / name).unlink(missing_ok=True)
    (tmp_path / "db" / name).symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError) as refusal:
        LevelStore(tmp_path / "db", create=False)
    assert refusal.value.code == "db-unusable" and "no plain file" in refusal.value.message
    assert (tmp_path / "mine").read_bytes() == b"precious"


@pytest.mark.parametrize("create", [True, False], ids=["new", "existing"])
def test_no_room_to_open_it_is_no_damage(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "db"
    if not create:
        store = LevelStore(path, create=True)
        store.write({b"%d" % number: b"v" * 100 for number in range(1000)})
        store.close()
    with no_room(20):
        found = refusal(path, create=create)
    assert found.code == "cannot-write"
    assert found.message.endswith(": File too large") and "b'" not in found.message
    LevelStore(path, create=create).close()  # nothing was damaged by it


def test_no_room_to_write(tmp_path: Path) -> None:
    """Checklist 58."""
    store = LevelStore(tmp_path / "db", create=True)
    with no_room(1000), pytest.raises(StoreFault) as error:
        store.write({b"a": b"v" * 100_000})
    store.close()
    assert error.value.code == "db-failed"
    assert error.value.message.endswith(": File too large") and "b'" not in error.value.message


@pytest.mark.parametrize("victim", ["CURRENT", "MANIFEST", ".log", ".ldb"])
def test_a_damaged_database(tmp_path: Path, victim: str) -> None:
    """Damage is told when the database is opened, or at the latest when the damaged part is read."""
    path = tmp_path / "db"
    for value in (b"1", b"2"):  # the second opening moves the first log into a table
        store = LevelStore(path, create=True)
        store.write({b"%d" % number: value * 100 for number in range(1000)})
        store.close()
    files = [file for file in path.iterdir() if victim in file.name and file.stat().st_size]
    assert files
    for file in files:
        data = bytearray(file.read_bytes())
        data[: len(data) // 2] = os.urandom(len(data) // 2)
        file.write_bytes(bytes(data))
    with pytest.raises((ConfigError, StoreFault)) as error:
        store = LevelStore(path, create=False)
        try:
            list(store.scan(b"", b"\xff"))
        finally:
            store.close()
    assert error.value.code == "db-corrupt"


def test_one_changed_byte_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = LevelStore(path, create=True)
    store.write({b"%d" % number: b"v" * 100 for number in range(1000)})
    store.close()
    LevelStore(path, create=False).close()  # moves the log into a table
    table = max(path.glob("*.ldb"), key=lambda file: file.stat().st_size)
    data = bytearray(table.read_bytes())
    data[data.index(b"v" * 100) + 50] ^= 1
    table.write_bytes(bytes(data))
    store = LevelStore(path, create=False)
    with pytest.raises(StoreFault, match="db-corrupt"):
        list(store.scan(b"", b"\xff"))
    with pytest.raises(StoreFault, match="db-corrupt"):
        for number in range(1000):
            store.get(b"%d" % number)
    store.close()
