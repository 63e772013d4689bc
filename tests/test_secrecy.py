"""What a process knows stays in it: no core file, nothing in what it prints, and a passphrase that can be changed."""

import logging
import os
import pickle
import resource
import signal
import socket
import stat
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from node.enrolment import Enrolment
from node.errors import ConfigError
from node.keyfile import TESTNET, load_key, public_key_of, read_passphrase, reseal, save_key
from node.model.keys import SigningKey, generate_key

ROOT = Path(__file__).parent.parent

# Opens a key if it is told to, says how it is with core files, and dies as after a mistake in a library.
DYING = """
import ctypes, os, sys
from pathlib import Path
from node.keyfile import load_key
if len(sys.argv) > 1:
    load_key(Path(sys.argv[1]), "secret passphrase")
limits = Path("/proc/self/limits").read_text().split("Max core file size")[1].split()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), limits[:2])
sys.stdout.flush()
os.abort()
"""


def dying(tmp_path: Path, *words: str) -> str:
    """What the program says before it dies, with core files of any size allowed, in a directory of its own."""

    def allow() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    soft = hard
    done = subprocess.run(
        [sys.executable, "-c", DYING, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=allow,
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGABRT, done.stderr
    return done.stdout.strip()


def test_a_process_that_has_opened_a_key_leaves_no_core_file(tmp_path: Path) -> None:
    """Neither the limit nor a core handler lets one out; a process without a secret is as it was."""
    key = generate_key()
    save_key(tmp_path / "key.json", key, "secret passphrase", TESTNET)
    (tmp_path / "with").mkdir()
    said = dying(tmp_path / "with", str(tmp_path / "key.json"))
    assert said == "0 ['0', '0']"
    assert not list((tmp_path / "with").iterdir())
    (tmp_path / "without").mkdir()
    assert dying(tmp_path / "without").startswith("1 ")


def test_a_key_shows_its_public_half(tmp_path: Path) -> None:
    key = generate_key()
    for shown in (repr(key), str(key), f"{key}", f"{[key]}", f"{ {'key': key} }"):
        assert key.public_key.hex() in shown
        assert key.seed.hex() not in shown and repr(key.seed) not in shown and repr(key.seed)[2:-1] not in shown


def test_no_secret_in_what_is_said_of_a_mistake(tmp_path: Path) -> None:
    """Refusals and their tracebacks name files, never what was in them or the passphrase."""
    path, key = tmp_path / "key.json", generate_key()
    right, wrong = "right" * 4, "wrong" * 4
    save_key(path, key, right, TESTNET)
    try:
        load_key(path, wrong)
    except ConfigError:
        said = traceback.format_exc()
    assert "wrong-passphrase" in said and wrong not in said and right not in said and key.seed.hex() not in said


def test_a_passphrase_is_changed_in_place(tmp_path: Path) -> None:
    path, key = tmp_path / "key.json", generate_key()
    save_key(path, key, "one", TESTNET)
    with pytest.raises(ConfigError, match="wrong-passphrase"):
        reseal(path, "two", "three", TESTNET)
    assert reseal(path, "one", "two", TESTNET) == key.public_key.hex()
    assert load_key(path, "two").seed == key.seed and public_key_of(path) == key.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and [each.name for each in tmp_path.iterdir()] == ["key.json"]
    with pytest.raises(ConfigError, match="wrong-passphrase"):
        load_key(path, "one")
    (tmp_path / "key.json.new").write_text("left over")
    with pytest.raises(ConfigError, match="key-exists"):
        reseal(path, "two", "three", TESTNET)
    assert load_key(path, "two").seed == key.seed, "the file is as it was"


def test_the_command_asks_for_the_new_passphrase_and_never_takes_the_old_one_for_it(tmp_path: Path) -> None:
    path, key = tmp_path / "key.json", generate_key()
    save_key(path, key, "one", TESTNET)
    words = ["wallet", "passphrase", str(path)]
    nobody = CliRunner().invoke(main, words, env={"WATT_PASSPHRASE": "one"})
    assert nobody.exit_code == 1 and nobody.stderr.startswith("watt: no-passphrase: ")
    new = tmp_path / "new"
    new.write_text("two\n")
    new.chmod(0o600)
    done = CliRunner().invoke(main, [*words, "--new-passphrase-file", str(new)], env={"WATT_PASSPHRASE": "one"})
    assert done.exit_code == 0, done.output
    assert load_key(path, "two").seed == key.seed
    assert "one" not in done.output.split() and "two" not in done.output.split()


def test_files_that_others_can_read_are_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "key.json"
    save_key(path, generate_key(), "x", TESTNET)
    secret = tmp_path / "passphrase"
    secret.write_text("x\n")
    secret.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        load_key(path, read_passphrase(secret) or "")
        assert caplog.messages == []
        path.chmod(0o644)
        secret.chmod(0o640)
        for _ in range(3):
            load_key(path, read_passphrase(secret) or "")
    assert sorted(message.split()[0] for message in caplog.messages) == ["key-file-open"] * 2
    assert any("mode 644" in message for message in caplog.messages)


def test_a_key_that_is_handed_to_another_process_on_purpose_is_whole() -> None:
    """Simulations do: it is the same key there, and shows as little."""
    key = generate_key()
    again = pickle.loads(pickle.dumps(key))
    assert isinstance(again, SigningKey) and again.sign(b"x") == key.sign(b"x") and repr(again) == repr(key)


def test_a_process_with_a_code_shows_it_to_nobody(tmp_path: Path) -> None:
    """While it waits for a gateway that never answers: not in the list of processes, nor in what it says at its end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = f"127.0.0.1:{silent.getsockname()[1]}"
        code = Enrolment(bytes(32), "device", "home-1/ev", 2**39, (gateway,), generate_key().seed)
        words = [sys.executable, "-m", "cli.main", "wallet", "enrol", "--out", str(tmp_path / "ev.key")]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        ) as process:
            assert process.stdin is not None
            process.stdin.write(code.code())
            process.stdin.close()
            process.stdin = None
            silent.settimeout(30)
            connection, _ = silent.accept()
            shown = (Path(f"/proc/{process.pid}") / "cmdline").read_text().split("\0")
            assert shown[1:-1] == words[1:]
            limits = Path(f"/proc/{process.pid}/limits").read_text()
            assert limits.split("Max core file size")[1].split()[:2] == ["0", "0"]
            connection.close()
            process.terminate()
            said = "".join(process.communicate(timeout=30))
    assert code.code() not in said and code.seed.hex() not in said and not (tmp_path / "ev.key").exists()
