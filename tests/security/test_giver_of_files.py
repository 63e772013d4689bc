"""Attacker: whoever hands over a file that a person, or an operator, then names in a command.

Whatever is in it, and whatever it is, the command ends with one line that names a code: no traceback, no endless
reading, nothing read or written elsewhere, and nothing that a terminal would obey.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.audit_files import FORMAT
from cli.main import main
from node.backup import MANIFEST_NAME, Manifest, entries_of, install_bundles, read_manifest
from node.errors import ConfigError
from node.keyfile import TESTNET, save_key
from node.ledger.store import LevelStore
from node.model.genesis import dump_genesis
from node.model.keys import generate_key
from node.snapshot.shelf import Shelf
from node.upgrades.library import Library
from tests.ledger.chains import make_genesis

MEMORY_BYTES = 3 * 1024**3
PASSPHRASE = "correct horse"
NESTED = b"[" * 200_000
COMMANDS: dict[str, list[str]] = {
    "genesis": ["market", "verify", "--genesis", "FILE", "--node", "127.0.0.1:9"],
    "orders": ["market", "clear", "--input", "FILE"],
    "export": ["market", "verify", "--genesis", "GENESIS", "--file", "FILE"],
    "evidence": ["node", "verify", "--genesis", "GENESIS", "--evidence", "FILE"],
    "configuration": ["node", "run", "--config", "FILE"],
    "key": ["wallet", "cancel", "00" * 32, "--key", "FILE", "--node", "127.0.0.1:9"],
    "key and passphrase": ["wallet", "passphrase", "FILE", "--passphrase-file", "FILE"],
    "readings": ["meter", "sign", "home/load", "FILE", "--key", "KEY", "--genesis", "GENESIS"],
    "orders in bulk": ["wallet", "bulk", "home/load", "FILE", "--key", "KEY", "--node", "127.0.0.1:9"],
    "grid": ["admin", "grid", "check", "FILE"],
    "wallet's genesis": ["wallet", "init", "--genesis", "FILE", "--wallet", "OUT", "--node", "127.0.0.1:9"],
    "site": ["broker", "run", "--config", "FILE"],
    "homes": ["broker", "backtest", "--homes", "FILE"],
    "certificates": ["node", "status", "--ca", "FILE", "--node", "127.0.0.1:9"],
    "request for a certificate": ["ca", "show", "FILE"],
}
DIRECTORIES: dict[str, tuple[str, list[str]]] = {
    "bundle": ("upgrade.json", ["node", "upgrade", "install", "FILE", "--client"]),
    "bundle's modules": ("upgrade.py", ["node", "upgrade", "install", "FILE", "--client"]),
    "audit": ("manifest.json", ["audit", "check", "FILE", "--genesis", "GENESIS"]),
    "wallet's home": ("genesis.json", ["wallet", "trust", "--wallet", "FILE"]),
}
"""Commands that are given a directory, and the file in it that is read first."""
CONTENTS: dict[str, bytes] = {
    "nothing": b"",
    "zeros": bytes(1000),
    "no UTF-8": b"\xff\xfe{}" * 10,
    "deep JSON": NESTED,
    "deep TOML": b"a = " + NESTED,
    "large integers": b'{"format": ' + b"9" * 5000 + b"}",
    "a TOML table of itself": b"[a]\n[a]\n",
    "escapes": b'{"name": "\x1b]0;owned\x07\x1b[2J"}',
    "a megabyte of commas": b"," * 1_000_000,
}


def placed(directory: Path, file: Path) -> dict[str, str]:
    """What stands for the capitals in COMMANDS: ``file`` is the attacker's, the others are sound."""
    genesis, key = directory / "good.json", directory / "good.key"
    if not key.exists():
        genesis.write_bytes(dump_genesis(make_genesis()))
        save_key(key, generate_key(), PASSPHRASE, TESTNET)
    return {"FILE": str(file), "GENESIS": str(genesis), "KEY": str(key), "OUT": str(directory / "new")}


def ran(name: str, file: Path, tmp_path: Path) -> tuple[int, str]:
    """The exit status of a command that is given ``file``, and all that it says."""
    commands = COMMANDS | {directory: words for directory, (_, words) in DIRECTORIES.items()}
    words = [placed(tmp_path, file).get(word, word) for word in commands[name]]
    result = CliRunner().invoke(
        main, words, env={"WATT_PASSPHRASE": PASSPHRASE, "WATT_KEY": None, "HOME": str(tmp_path)}
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_anything_ends_in_one_line(name: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_bytes(CONTENTS[content])
    status, said = ran(name, file, tmp_path)
    assert status == 1, said
    assert "Traceback" not in said
    assert "\x1b" not in said and "\x07" not in said
    assert len(said) < 4000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "good.json", "good.key"]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_directory_of_anything_ends_in_one_line(name: str, content: str, tmp_path: Path) -> None:
    directory = tmp_path / "given"
    directory.mkdir(mode=0o700)
    (directory / DIRECTORIES[name][0]).write_bytes(CONTENTS[content])
    (directory / DIRECTORIES[name][0]).chmod(0o600)
    status, said = ran(name, directory, tmp_path)
    assert status == 1 and "Traceback" not in said and len(said) < 4000, said
    assert "\x1b" not in said and "\x07" not in said


def test_a_damaged_copy_is_a_bad_backup_and_no_damaged_node(tmp_path: Path) -> None:
    """What the store says of a node's own data (`db-corrupt`) would send an operator to a sound disk."""
    store = LevelStore(tmp_path / "db", create=True)
    store.write({b"b%d" % number: bytes(1000) for number in range(100)})
    store.close()
    manifest = Manifest(2, "00" * 32, "ann", 1, "00" * 32, 100, 1, "00" * 32, 1)
    (log,) = (tmp_path / "db").glob("*.log")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    for remove in (False, True):
        if remove:
            (tmp_path / "db" / "CURRENT").unlink()
        with pytest.raises(ConfigError, match="bad-backup"):
            list(entries_of(tmp_path, manifest))


NAMES = ("../../given", "/etc/passwd", "..", "", "a\0b", "00" * 32, "00 " * 32)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_backup_or_an_audit_names_is_no_path(name: str, tmp_path: Path) -> None:
    """A manifest's names become paths within its directory, and nothing is read or installed that is elsewhere."""
    (tmp_path / "given").mkdir()
    manifest = {"format": 2, "chain": "00" * 32, "member": "ann", "height": 1, "block_hash": "00" * 32, "entries": 1}
    written = json.dumps({**manifest, "bytes": 1, "digest": "00" * 32, "made": 1, "upgrades": [name]})
    (tmp_path / "given" / MANIFEST_NAME).write_text(written)
    library = Library(tmp_path / "upgrades")
    with pytest.raises(ConfigError, match="bad-backup"):
        install_bundles(tmp_path / "given", read_manifest(tmp_path / "given"), library)
    assert not library.directory.exists()
    scope: dict[str, object] = {"first": 0, "end": 1, "networks": None, "devices": True, "left_out": []}
    audit = {
        "format": FORMAT,
        "kind": "csv",
        "chain": "00" * 32,
        "scope": scope,
        "tables": {name: {"rows": 1, "columns": []}},
    }
    (tmp_path / "given" / "manifest.json").write_text(json.dumps(audit))
    status, said = ran("audit", tmp_path / "given", tmp_path)
    assert status == 1 and said.startswith("watt: bad-audit:") and "a table that there is not" in said, said


def test_a_snapshot_in_data_to_audit_is_not_read_without_end(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "manifest").symlink_to("/dev/zero")
    assert not Shelf(tmp_path).kept


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path)], ids=["directory", "link to itself"])
@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_no_file_ends_in_one_line(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    file = tmp_path / "given"
    make(file)
    status, said = ran(name, file, tmp_path)
    assert status in (1, 2) and "Traceback" not in said, said


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"homes"}))
def test_a_device_without_end_is_not_read_to_its_end(name: str, tmp_path: Path) -> None:
    """In a process of its own with bounded memory: a reader without bounds would be killed here."""
    places = placed(tmp_path, Path("/dev/zero"))
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *[places.get(word, word) for word in COMMANDS[name]]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if not key.startswith("WATT_")}
        | {"WATT_PASSPHRASE": PASSPHRASE},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and "MemoryError" not in done.stderr


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".", "..", "a\0b", "\x1b[2J", "a" * 49, ""])
def test_a_members_name_is_no_path(name: str, tmp_path: Path) -> None:
    """Members' names become directories and file names."""
    document = json.loads(dump_genesis(make_genesis()))
    document["members"][0]["name"] = name
    file = tmp_path / "given"
    file.write_text(json.dumps(document))
    status, said = ran("genesis", file, tmp_path)
    assert status == 1 and said.startswith("watt: bad-genesis:") and "\x1b" not in said
