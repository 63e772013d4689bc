"""`watt ca`, `watt node csr` and `install-certificate`, from the first key to a revoked certificate."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.keyfile import TESTNET
from node.pki import authority, holder
from node.setup import CONFIG_NAME, NodeFiles, init_node

SECRET = "open sesame"


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are sealed as cheaply as can be."""
    for function in (authority.create_root, authority.create_member, holder.request_for_operator):
        monkeypatch.setattr(function, "__defaults__", (*(function.__defaults__ or ())[:-1], TESTNET))
    monkeypatch.setattr(holder.request_for_gateway, "__kwdefaults__", {"another_key": False, "limits": TESTNET})
    monkeypatch.setenv("WATT_PASSPHRASE", SECRET)


def watt(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def said(*words: str | Path) -> Any:
    result = watt(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(*words: str | Path) -> str:
    """The code of the refusal."""
    result = watt(*words)
    assert result.exit_code == 1 and re.fullmatch(r"watt: [a-z-]+: [^\n]+\n", result.stderr), result.output
    return result.stderr.split(": ")[1]


@pytest.fixture
def at(tmp_path: Path) -> Path:
    """A directory with `root`, `ca` (utility's, accepted) and `node`."""
    said("ca", "init", "--dir", tmp_path / "root", "--name", "Street")
    asked = said("ca", "init", "--dir", tmp_path / "ca", "--member", "utility")
    words = ("--dir", tmp_path / "root", "--csr", asked["request"], "--dns", "utility.example")
    said("ca", "member", "utility", *words, "--out", tmp_path / "ca.crt")
    said("ca", "accept", tmp_path / "ca.crt", "--dir", tmp_path / "ca")
    files = NodeFiles(tmp_path / "node", "utility", "genesis.json", "127.0.0.1:7501", "127.0.0.1:7401", {})
    init_node(files, SECRET, TESTNET)
    return tmp_path


def test_a_gateway_from_request_to_renewal_and_revocation(at: Path) -> None:
    config = ("--config", at / "node" / CONFIG_NAME)
    asked = said("node", "csr", *config, "--name", "127.0.0.1", "--name", "gw.utility.example")
    shown = said("ca", "show", asked["request"])
    assert shown == [{"what": "request", "kind": "gateway", "member": "utility", "names": asked["names"]}]
    issued = ("--for", "gateway", "--dir", at / "ca", "--csr", asked["request"], "--out", at / "gateway.crt")
    serial = said("ca", "issue", *issued, "--days", "20")["serial"]
    assert refused("ca", "issue", *issued) == "file-exists"
    assert said("node", "install-certificate", at / "gateway.crt", *config)["serial"] == serial
    told = watt("node", "install-certificate", at / "gateway.crt", *config)
    assert 'key_file = "gateway.key.json"' in told.stderr  # node.toml does not name it yet

    renewed = said("ca", "renew", serial[:8], "--dir", at / "ca", "--out", at / "renewed.crt")
    assert said("node", "install-certificate", at / "renewed.crt", *config)["serial"] == renewed["serial"] != serial
    said("ca", "revoke", "--yes", serial[:8], "--dir", at / "ca", "--reason", "superseded")
    states = {row["serial"]: row["state"] for row in said("ca", "list", "--dir", at / "ca")}
    assert states == {serial: "revoked", renewed["serial"]: "good"}
    assert [row["serial"] for row in said("ca", "list", "--dir", at / "ca", "--ending", "31")] == [renewed["serial"]]
    assert said("ca", "list", "--dir", at / "ca", "--ending", "5") == []
    assert said("ca", "show", at / "ca" / "ca.crl")[1]["revoked"] == [serial]
    assert "until" in said("ca", "crl", "--dir", at / "ca")
    assert refused("ca", "renew", serial[:8], "--dir", at / "ca", "--out", at / "x.crt") == "certificate-revoked"
    assert refused("ca", "revoke", "--yes", "ffffffffff", "--dir", at / "ca") == "unknown-certificate"
    assert not (at / "x.crt").exists()


def test_a_stolen_key_takes_its_renewals_with_it_and_the_next_request_asks_for_the_same_names(at: Path) -> None:
    config = ("--config", at / "node" / CONFIG_NAME)
    assert watt("node", "csr", *config).exit_code == 2  # nothing says yet which names
    asked = said("node", "csr", *config, "--name", "127.0.0.1", "--name", "gw.utility.example")
    issue = ("ca", "issue", "--for", "gateway", "--dir", at / "ca", "--csr", asked["request"])
    serial = said(*issue, "--out", at / "gateway.crt")["serial"]
    renewed = said("ca", "renew", serial, "--dir", at / "ca", "--out", at / "renewed.crt")["serial"]
    said("node", "install-certificate", at / "renewed.crt", *config)
    ended = said("ca", "revoke", "--yes", serial, "--dir", at / "ca", "--reason", "key-compromise")["serials"]
    assert ended == [serial, renewed]
    assert said("node", "csr", *config, "--new-key")["names"] == asked["names"]
    said("node", "install-certificate", _issued(issue, at / "next.crt"), *config)


def _issued(issue: tuple[str | Path, ...], out: Path) -> Path:
    said(*issue, "--out", out)
    return out


def test_an_operator(at: Path) -> None:
    asked = said("ca", "request", "alice", "--member", "utility", "--dir", at / "alice")
    words = ("--dir", at / "ca", "--csr", asked["request"], "--out", at / "alice.crt")
    assert refused("ca", "issue", "--for", "gateway", *words) == "bad-request"
    assert said("ca", "issue", "--for", "operator", *words)["names"] == ["alice"]
    result = watt("ca", "unseal", "--key", asked["key"], "--out", at / "alice.pem")
    assert result.exit_code == 0 and "PRIVATE KEY" not in result.output
    assert b"PRIVATE KEY" in (at / "alice.pem").read_bytes() and (at / "alice.pem").stat().st_mode & 0o077 == 0
    assert refused("ca", "unseal", "--key", asked["key"], "--out", at / "alice.pem") == "file-exists"
    config = ("--config", at / "node" / CONFIG_NAME)
    assert refused("node", "install-certificate", at / "alice.crt", *config) == "bad-certificate"


def test_what_cannot_be_is_refused_in_a_line(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = at / "ca" / "ca.csr"
    member = ("--dir", at / "root", "--csr", asked, "--out", at / "x.crt")
    assert refused("ca", "member", "rival", *member) == "wrong-member"
    assert refused("ca", "member", "utility", *member, "--days", "9999") == "too-long"
    assert refused("ca", "member", "utility", *member, "--dns", "NO SUCH") == "bad-names"
    assert refused("ca", "init", "--dir", at / "ca", "--member", "utility") == "key-exists"
    assert refused("ca", "init", "--dir", at / "new", "--member", "No Such") == "bad-names"
    assert refused("ca", "accept", at / "root" / "ca.crt", "--dir", at / "ca") == "bad-certificate"
    assert refused("ca", "accept", at / "nothing", "--dir", at / "ca") == "no-file"
    assert refused("ca", "list", "--dir", at / "nowhere") == "no-ca"
    assert refused("ca", "crl", "--dir", at / "nowhere") == "no-ca"
    assert refused("ca", "show", at / "node" / "node.toml") == "bad-certificate"
    assert watt("ca", "init", "--dir", at / "new").exit_code == 2
    said("ca", "init", "--dir", at / "waiting", "--member", "utility")
    assert refused("ca", "crl", "--dir", at / "waiting") == "no-ca"
    assert refused("ca", "accept", at / "ca.crt", "--dir", at / "waiting") == "wrong-certificate"
    monkeypatch.setenv("WATT_PASSPHRASE", "guess")
    assert refused("ca", "crl", "--dir", at / "ca") == "wrong-passphrase"
    assert not (at / "x.crt").exists()
