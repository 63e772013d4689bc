"""A key on a PKCS#11 token signs for whoever has its key file: SoftHSM2, where Debian's package is installed."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import RefusedError
from node.keyfile import public_key_of
from node.model.keys import verify
from node.signer import NODE_SIGN_S, ExternalSigner, open_signer, save_external

MODULES = [Path(place) for place in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so")]
MODULE = next((path for path in MODULES if path.exists()), None)
TOOL = shutil.which("softhsm2-util")

pytestmark = pytest.mark.skipif(
    MODULE is None or TOOL is None, reason="softhsm2 is not installed: apt-get install softhsm2"
)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A new token with the PIN 1234, and what signs with its key "owner"."""
    (tmp_path / "tokens").mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    words = [str(TOOL), "--init-token", "--free", "--label", "watt", "--pin", "1234", "--so-pin", "5678"]
    subprocess.run(words, check=True, capture_output=True, timeout=20)
    (tmp_path / "pin").write_text("1234\n")
    (tmp_path / "pin").chmod(0o600)
    watt = [sys.executable, "-m", "cli.main", "keys", "signer", "pkcs11", "--module", str(MODULE), "--token", "watt"]
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    yield [*watt, "--label", "owner", "--pin-file", str(tmp_path / "pin")]


def test_a_token_signs(command: list[str], tmp_path: Path) -> None:
    """The key is made on the token; the key file names the program, and holds no secret."""
    none_yet = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert none_yet.returncode == 1 and none_yet.stderr.startswith("watt: no-token-key: ")
    made = subprocess.run([*command, "--make"], capture_output=True, text=True, timeout=20, check=True)
    again = subprocess.run([*command, "--make"], capture_output=True, text=True, timeout=20, check=False)
    assert again.returncode == 1 and again.stderr.startswith("watt: key-exists: ")
    path = tmp_path / "owner.json"
    assert save_external(path, command).hex() == made.stdout.strip() == public_key_of(path).hex()
    signer = open_signer(path, "", NODE_SIGN_S)
    for message in (b"", b"message", bytes(100_000)):
        assert verify(signer.public_key, message, signer.sign(message))


def test_a_wrong_pin_is_refused(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("4321\n")
    refused = subprocess.run([*command, "--make"], capture_output=True, text=True, timeout=20, check=False)
    assert refused.returncode == 1 and refused.stderr.startswith("watt: token-failed: ")
    assert "4321" not in refused.stderr
    with pytest.raises(RefusedError, match="signer-failed"):
        ExternalSigner(command, tmp_path, b"", NODE_SIGN_S)
