"""Secrets at rest."""

import json
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.errors import ConfigError
from node.keyfile import (
    KIND_TLS_KEY,
    PASSPHRASE_VARIABLE,
    TESTNET,
    load_key,
    public_key_of,
    read_passphrase,
    save_key,
    seal,
    unseal,
    write_private,
)
from node.model.keys import generate_key, verify

PASSPHRASE = "correct horse, ünïcode"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sealed signing key."""
    save_key(tmp_path / "key.json", generate_key(), PASSPHRASE, TESTNET)
    return tmp_path / "key.json"


def code_of(use: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        use()
    assert "\n" not in caught.value.message
    return caught.value.code


def test_a_key_comes_back_with_its_passphrase_only(tmp_path: Path) -> None:
    key = generate_key()
    path = tmp_path / "key.json"
    save_key(path, key, PASSPHRASE, TESTNET)
    again = load_key(path, PASSPHRASE)
    assert verify(key.public_key, b"message", again.sign(b"message"))
    assert public_key_of(path) == key.public_key
    assert key.seed.hex() not in path.read_text()
    for wrong in ("", "correct horse", PASSPHRASE + " "):
        assert code_of(lambda wrong=wrong: load_key(path, wrong)) == "wrong-passphrase"  # type: ignore[misc]


def test_only_the_owner_can_read_it_and_nothing_is_overwritten(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert code_of(lambda: save_key(path, generate_key(), PASSPHRASE, TESTNET)) == "key-exists"
    assert path.read_bytes() == before


def test_two_files_of_one_key_have_nothing_in_common(tmp_path: Path) -> None:
    key = generate_key()
    for name in ("a", "b"):
        save_key(tmp_path / name, key, PASSPHRASE, TESTNET)
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a", "b"))
    assert a["salt"] != b["salt"] and a["box"] != b["box"]


def test_other_secrets_are_not_taken_for_keys(tmp_path: Path) -> None:
    path = tmp_path / "tls.json"
    seal(path, KIND_TLS_KEY, b"secret", PASSPHRASE, limits=TESTNET)
    assert unseal(path, KIND_TLS_KEY, PASSPHRASE) == b"secret"
    assert code_of(lambda: load_key(path, PASSPHRASE)) == "bad-key-file"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"format": 2}, "bad-key-file"),
        ({"format": "1"}, "bad-key-file"),
        ({"surprise": 1}, "bad-key-file"),
        ({"salt": "!"}, "bad-key-file"),
        ({"salt": "AAAA"}, "bad-key-file"),
        ({"box": ""}, "wrong-passphrase"),
        ({"box": "AAAA"}, "wrong-passphrase"),
        ({"memory_bytes": 1 << 40}, "bad-key-file"),  # a file must not be able to eat the machine's memory
        ({"memory_bytes": 1}, "bad-key-file"),
        ({"operations": 10**9}, "bad-key-file"),
    ],
)
def test_a_spoiled_file_has_its_code(path: Path, changes: dict[str, Any], code: str) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert code_of(lambda: load_key(path, PASSPHRASE)) == code


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"{}", b"x" * 100_000])
def test_what_is_no_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.json").write_bytes(content)
    assert code_of(lambda: load_key(tmp_path / "key.json", PASSPHRASE)) == "bad-key-file"
    assert code_of(lambda: load_key(tmp_path / "none.json", PASSPHRASE)) == "no-key-file"


def test_a_flipped_bit_in_the_box_is_found(path: Path) -> None:
    document = json.loads(path.read_text())
    box = document["box"]
    document["box"] = box[:20] + ("A" if box[20] != "A" else "B") + box[21:]
    path.write_text(json.dumps(document))
    assert code_of(lambda: load_key(path, PASSPHRASE)) == "wrong-passphrase"


def test_the_passphrase_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    assert read_passphrase(None) is None
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "from the environment")
    assert read_passphrase(None) == "from the environment"
    file = tmp_path / "passphrase"
    file.write_text("first line\nsecond line\n")
    assert read_passphrase(file) == "first line"
    file.write_text("")
    assert code_of(lambda: read_passphrase(file)) == "no-passphrase"
    assert code_of(lambda: read_passphrase(tmp_path / "none")) == "no-passphrase"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        read_passphrase(file)
    assert (caught.value.code, caught.value.message) == ("no-passphrase", f"{file} is not UTF-8 text")


def test_a_file_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))  # the nearest thing to a full disk
    try:
        assert code_of(lambda: write_private(tmp_path / "key", b"x" * 100)) == "cannot-write"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
