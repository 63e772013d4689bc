"""Keys that are with another program: what a good one signs is used, and nothing that a bad one does is."""

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.errors import ConfigError, NodeFault, RefusedError
from node.keyfile import TESTNET, load_key, public_key_of, save_key
from node.model.keys import SigningKey, verify
from node.signer import ExternalSigner, Pen, is_external, open_signer, save_external

SEED = bytes(range(32))
KEY = SigningKey(SEED)
OTHER = SigningKey(bytes(32))
PATIENCE_S = 0.4

# A signer in ten lines, as docs/keys.md states it. What it answers to "sign" is for the tests to say.
PROGRAM = """
import json, sys, time, os
from nacl.signing import SigningKey
key = SigningKey(bytes(range(32)))
for line in sys.stdin:
    asked = json.loads(line)
    if "public_key" in asked:
        said = {"public_key": key.verify_key.encode().hex()}
    else:
        message = bytes.fromhex(asked["sign"])
        said = {"signature": key.sign(message).signature.hex()}
        SIGN
    print(json.dumps(said), flush=True)
"""


def command(tmp_path: Path, instead: str = "pass") -> list[str]:
    """What runs the program, with a statement before it answers a request for a signature."""
    (tmp_path / "signer.py").write_text(PROGRAM.replace("SIGN", instead))
    return [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; exec(open('signer.py').read())"]


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Callable[..., ExternalSigner]]:
    """Makes signers, and ends them."""
    made: list[ExternalSigner] = []

    def make(instead: str = "pass", key: bytes = KEY.public_key) -> ExternalSigner:
        made.append(ExternalSigner(command(tmp_path, instead), tmp_path, key, PATIENCE_S))
        return made[-1]

    yield make
    for each in made:
        each.close()


def fault_of(use: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        use()
    assert caught.value.code == "signer-failed" and "\n" not in caught.value.message
    return caught.value.message


def test_a_key_file_that_names_a_signer_works_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    assert save_external(path, command(tmp_path)) == KEY.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and SEED.hex() not in path.read_text()
    assert is_external(path) and public_key_of(path) == KEY.public_key
    opened = open_signer(path, "")
    for message in (b"", b"message", bytes(300_000)):
        assert verify(opened.public_key, message, opened.sign(message))
    with pytest.raises(ConfigError, match="bad-key-file"):
        load_key(path, "")
    save_key(tmp_path / "sealed.json", OTHER, "x", TESTNET)
    assert open_signer(tmp_path / "sealed.json", "x").public_key == OTHER.public_key


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("time.sleep(60)", "no answer within"),
        ("sys.exit(3)", "it ended"),
        ("os.abort()", "it ended"),
        ("said = {'error': 'the token is locked'}", "the token is locked"),
        ("said = {'signature': key.sign(message + b'!').signature.hex()}", "no signature of its key"),
        ("said = {'signature': '00'}", "no signature of its key"),
        ("said = {'signature': 'zz' * 64}", "no signature of its key"),
        ("said = {'signature': 7}", "Expected `str | null`"),
        ("said = {'signed': '00'}", "unknown field"),
        ("said = []", "Expected `object`"),
        ("print('hello', end='')", "malformed"),
        ("print('x' * 5000)", "more than one short line"),
        ("print('{}')", "more than one short line|no signature of its key"),
        ("sys.stdout.buffer.write(bytes([255, 10])); sys.stdout.flush(); sys.exit()", "malformed|UTF-8|utf-8"),
    ],
)
def test_what_a_bad_signer_says_is_not_used(signer: Callable[..., ExternalSigner], instead: str, said: str) -> None:
    started = time.monotonic()
    bad = signer(instead)
    loaded = time.monotonic()
    message = fault_of(lambda: bad.sign(b"message"))
    assert time.monotonic() - loaded < PATIENCE_S + 0.5, loaded - started
    assert any(part in message for part in said.split("|")), message


def test_one_that_ended_is_started_again_and_does_not_stay(
    tmp_path: Path, signer: Callable[..., ExternalSigner]
) -> None:
    """The first time that it is asked to sign it dies, as after a token was pulled out."""
    flag = tmp_path / "died"
    once = signer(f"os.path.exists({str(flag)!r}) or (open({str(flag)!r}, 'w').close(), os._exit(1))")
    fault_of(lambda: once.sign(b"message"))
    assert verify(KEY.public_key, b"message", once.sign(b"message"))
    process = once._process
    assert process is not None
    once.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_signer_of_another_key_or_none_is_refused(tmp_path: Path, signer: Callable[..., ExternalSigner]) -> None:
    assert "signs for" in fault_of(lambda: signer(key=OTHER.public_key))
    for words in (["./nothing-there"], ["/"], [sys.executable, "-c", "pass"], ["cat"], ["/bin/echo", "{}"], [""]):
        fault_of(lambda words=words: ExternalSigner(words, tmp_path, b"", PATIENCE_S))  # type: ignore[misc]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"format": 1, "kind": "external", "public_key": "", "command": ["true"]}',
        '{"format": 2, "kind": "external", "public_key": "%s", "command": ["true"]}',
        '{"format": 1, "kind": "external", "public_key": "%s", "command": []}',
        '{"format": 1, "kind": "external", "public_key": "%s", "command": "true"}',
        '{"format": 1, "kind": "external", "public_key": "%s", "command": ["true"], "secret": 1}',
        '{"format": 1, "kind": "external", "public_key": "xx", "command": ["true"]}',
    ],
)
def test_bad_key_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(text.replace("%s", KEY.public_key.hex()))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="bad-key-file"):
        open_signer(path, "")


def test_what_others_may_write_to_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    save_external(path, command(tmp_path))
    path.chmod(0o620)
    with pytest.raises(ConfigError, match="others may write to it"):
        open_signer(path, "")


def test_a_signer_gets_no_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATT_PASSPHRASE", "secret")
    with ExternalSigner(
        command(tmp_path, "said = {'error': repr('WATT_PASSPHRASE' in os.environ)}"), tmp_path, b"", PATIENCE_S
    ) as asked:
        assert "False" in fault_of(lambda: asked.sign(b"message"))


def test_a_node_whose_signer_failed_signs_nothing_more(tmp_path: Path, signer: Callable[..., ExternalSigner]) -> None:
    flag = tmp_path / "died"
    once = Pen(signer(f"os.path.exists({str(flag)!r}) or (open({str(flag)!r}, 'w').close(), os._exit(1))"))
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(NodeFault, match="signer-failed"):
            once.sign(b"vote")
    assert time.monotonic() - started < 0.01


def test_a_node_does_not_wait_for_a_signer_that_ended(signer: Callable[..., ExternalSigner]) -> None:
    """As when it was killed between two votes: a wallet's would be started again."""
    asked = signer()
    pen = Pen(asked)
    assert verify(KEY.public_key, b"vote", pen.sign(b"vote")) and pen.public_key == KEY.public_key
    process = asked._process
    assert process is not None
    process.kill()
    process.wait()
    with pytest.raises(NodeFault, match="it ended"):
        pen.sign(b"vote")
