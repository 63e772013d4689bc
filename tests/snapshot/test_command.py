"""`watt node join` and `watt node snapshot` as commands: what they print, and how they refuse."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from cli.main import main
from node.model.genesis import dump_genesis
from testnet.neighbourhood import build_neighbourhood
from tests.ledger.chains import make_genesis


def watt(*words: object) -> Result:
    return CliRunner().invoke(main, ["node", *map(str, words)])


def refusal(*words: object) -> tuple[int, str]:
    """The exit status and the last line on stderr."""
    done = watt(*words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr.splitlines()[-1]


def test_nobody_answers(tmp_path: Path) -> None:
    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(dump_genesis(make_genesis()))
    words = ("join", "--data", tmp_path / "data", "--genesis", genesis, "--from", "127.0.0.1:9")
    status, line = refusal(*words)
    assert status == 3 and line == "watt: unreachable: 127.0.0.1:9: unreachable, does not answer"
    assert refusal(*words, "--json")[0] == 3


def test_wrong_usage(tmp_path: Path) -> None:
    assert refusal("join", "--data", tmp_path, "--from", "127.0.0.1:9")[0] == 2
    assert refusal("join", "--config", tmp_path / "node.toml")[0] == 2
    status, line = refusal("join", "--config", tmp_path / "node.toml", "--from", "nowhere")
    assert status == 2 and "is not HOST:PORT" in line
    assert refusal("join", "--config", tmp_path / "none", "--from", "127.0.0.1:9") == (
        1,
        f"watt: no-config: {tmp_path / 'none'}: No such file or directory",
    )
    words = ("join", "--data", tmp_path, "--genesis", tmp_path / "none", "--from", "127.0.0.1:9")
    assert refusal(*words)[1].startswith("watt: no-genesis: ")


def test_a_data_directory_that_is_none(tmp_path: Path) -> None:
    genesis, data = tmp_path / "genesis.json", tmp_path / "file"
    genesis.write_bytes(dump_genesis(make_genesis()))
    data.write_bytes(b"")
    status, line = refusal("join", "--data", data, "--genesis", genesis, "--from", "127.0.0.1:9")
    assert status == 1 and line.startswith("watt: cannot-write: ")


def test_a_node_without_blocks_has_no_snapshots(tmp_path: Path) -> None:
    network = build_neighbourhood(tmp_path / "net", nodes=4, base_port=None)
    config = network.nodes[0].config_path
    done = watt("snapshot", "--config", config, "--list", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
    assert refusal("snapshot", "--config", config)[1].startswith("watt: db-missing: ")
    assert "of block" in watt("snapshot", "--config", config, "--list").stdout
