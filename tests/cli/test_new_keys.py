"""`watt node new-keys` on a node's files."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from cli.main import main
from node.config import load_config
from node.keyfile import TESTNET
from node.keyring import KeyRing
from node.model.epoch import Validator
from node.setup import CONFIG_NAME, NodeFiles, init_node
from node.transport.tls import certificate_fault

PASSPHRASE = "open sesame"


def new_keys(directory: Path, passphrase: str = PASSPHRASE) -> Result:
    (directory / "passphrase").write_text(passphrase)
    words = ["--config", str(directory / CONFIG_NAME), "--passphrase-file", str(directory / "passphrase")]
    return CliRunner().invoke(main, ["node", "new-keys", *words, "--json"])


def test_next_keys_lie_beside_those_in_use(tmp_path: Path) -> None:
    files = NodeFiles(tmp_path, "north", "genesis.json", "127.0.0.1:7501", "127.0.0.1:7401", {})
    old = init_node(files, PASSPHRASE, TESTNET)
    early = KeyRing(load_config(tmp_path / CONFIG_NAME), PASSPHRASE)
    told = json.loads(new_keys(tmp_path).stdout)
    entry = json.loads(Path(told["entry"]).read_text())
    assert entry["name"] == told["name"] == "north" and entry["public_key"] == told["public_key"] != old.public_key
    assert certificate_fault(entry["tls_certificate"]) is None
    keys = KeyRing(load_config(tmp_path / CONFIG_NAME), PASSPHRASE)
    assert early.signer(Validator(**entry)) is None and early.look_for(Validator(**entry)) is not None
    for member in (Validator("north", old.public_key, old.tls_certificate), Validator(**entry)):
        assert keys.signer(member) is not None and keys.has_certificate(member)
    assert keys.main.public_key.hex() == old.public_key
    again = new_keys(tmp_path)
    assert again.exit_code == 1 and "key-exists" in again.stderr


def test_next_keys_have_the_passphrase_of_those_in_use(tmp_path: Path) -> None:
    init_node(NodeFiles(tmp_path, "north", "genesis.json", "127.0.0.1:7501", "127.0.0.1:7401", {}), PASSPHRASE, TESTNET)
    before = sorted(path.name for path in tmp_path.iterdir())
    refused = new_keys(tmp_path, "another")
    assert refused.exit_code == 1 and "wrong-passphrase" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "passphrase"])
    assert new_keys(tmp_path).exit_code == 0
