"""`watt testnet` from the outside: what a developer types first."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.errors import ConfigError, RefusedError
from testnet import genesis
from testnet.cluster import Cluster
from testnet.genesis import PEER_PORTS_OFFSET, build_network, load_network
from testnet.membership import make_node
from testnet.neighbourhood import build_neighbourhood


def watt(directory: Path, *arguments: str) -> Result:
    """The command in this process; the nodes that it starts are real ones."""
    return CliRunner().invoke(main, ["testnet", *arguments, "--dir", str(directory)])


def status(directory: Path) -> dict[str, Any]:
    done = watt(directory, "status", "--json")
    assert done.exit_code == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def free_base_port() -> int:
    """A port after which those that a network of four takes are free."""
    for base in range(genesis.PORTS.start, genesis.PORTS.stop - 250, 250):
        wanted = [base + offset + i for offset in (1, PEER_PORTS_OFFSET + 1) for i in range(4)]
        try:
            for port in wanted:
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


def test_up_status_kill_restart_stop_down(tmp_path: Path) -> None:
    directory, grid = tmp_path / "net", tmp_path / "grid.csv"
    grid.write_text("root,pole\nfrom,to,metres\npole,yard,30\n")
    base = free_base_port()
    try:
        up = watt(directory, "up", "--nodes", "4", "--base-port", str(base), "--grid", str(grid), "--json")
        assert up.exit_code == 0, up.stderr
        first = json.loads(up.stdout)
        assert first["agree"] and [node["gateway"] for node in first["nodes"]] == [
            f"127.0.0.1:{base + 1 + i}" for i in range(4)
        ]

        assert load_network(directory).genesis.contracts["identity"]["networks"][2][3] == "yard"
        assert watt(directory, "kill", "node-3").exit_code == 0
        assert watt(directory, "stop", "2").exit_code == 0
        found = status(directory)
        assert [node["pid"] is None for node in found["nodes"]] == [False, False, True, True]
        again = watt(directory, "stop", "node-2")
        assert (again.exit_code, again.stderr) == (1, "watt: not-running: node-2 does not run\n")
        unknown = watt(directory, "kill", "node-9")
        assert unknown.exit_code == 1 and unknown.stderr.startswith("watt: unknown-node: ")

        assert watt(directory, "restart", "node-2").exit_code == 0
        assert watt(directory, "restart", "node-0").exit_code == 0
        up = watt(directory, "up", "--json")  # starts what is missing, and keeps the chain
        assert up.exit_code == 0, up.stderr
        last = json.loads(up.stdout)
        assert last["agree"] and last["height"] >= first["height"]
        assert last["nodes"][0]["pid"] != first["nodes"][0]["pid"]
        assert last["nodes"][1]["pid"] == first["nodes"][1]["pid"]
    finally:
        down = watt(directory, "down")
    assert down.exit_code == 0, down.stderr
    assert all(node["pid"] is None for node in status(directory)["nodes"])


def test_a_port_in_use_leaves_nothing_running(tmp_path: Path) -> None:
    directory = tmp_path / "net"
    base = free_base_port()
    with socket.create_server(("127.0.0.1", base + 2)):
        up = watt(directory, "up", "--base-port", str(base))
    assert up.exit_code == 1
    refused = (
        f"watt: port-in-use: cannot listen on 127.0.0.1:{base + 2}; stop what listens there, or change node.toml\n"
    )
    assert up.stderr == f"watt: node-ended: node-1: {refused}"
    assert all(node["pid"] is None for node in status(directory)["nodes"])


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    directory = tmp_path / "net"
    settings = tmp_path / "settings.json"
    settings.write_text("{}")
    built = watt(directory, "up", "--genesis", str(tmp_path / "none.json"))
    assert built.exit_code == 2  # wrong usage: no such file
    settings.write_text("[]")
    refused = watt(directory, "up", "--genesis", str(settings))
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: bad-genesis: ")
    settings.write_bytes(b"\xff\xfe{}")
    refused = watt(directory, "up", "--genesis", str(settings))
    assert refused.exit_code == 1 and "codec" not in refused.stderr
    assert refused.stderr.startswith("watt: bad-genesis: ")
    nothing = watt(directory, "status")
    assert nothing.exit_code == 1 and nothing.stderr.startswith("watt: no-testnet: ")


def test_a_refused_up_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "net"
    for usage in (["--nodes", "3"], ["--nodes", "41"], ["--base-port", "65500"], ["--base-port", "-1"]):
        assert watt(directory, "up", *usage).exit_code == 2
    with pytest.raises(ConfigError, match="bad-config"):
        build_neighbourhood(directory, nodes=3, base_port=None)
    with pytest.raises(ConfigError, match="bad-config"):
        build_neighbourhood(directory, nodes=4, base_port=65_500)
    settings = tmp_path / "settings.json"
    for wrong in ('{"grid": {"root": 7}}', '{"grid": {"root": "r", "lines": [["r"]]}}', '{"grit": {}}'):
        settings.write_text(wrong)
        refused = watt(directory, "up", "--genesis", str(settings))
        assert refused.exit_code == 1 and refused.stderr.startswith("watt: bad-genesis: ")
    settings.unlink()
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_directory_is_neither_overwritten_nor_added_to(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    refused = watt(tmp_path, "up")
    assert refused.exit_code == 1
    assert refused.stderr == f"watt: key-exists: {tmp_path / 'keys'} is there already; it is never overwritten\n"
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_file_for_a_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for place in (file, file / "below"):
        refused = watt(place, "up")
        assert refused.exit_code == 1 and refused.stderr == f"watt: cannot-write: {place}: Not a directory\n"
    assert watt(file, "status").stderr.startswith("watt: no-testnet: ")
    assert file.read_text() == "mine"


def test_another_network_than_the_one_that_is_there(tmp_path: Path) -> None:
    network = build_network(tmp_path / "net", {}, base_port=21_000)
    settings = tmp_path / "settings.json"
    settings.write_text('{"market": {"tariffs": []}}')
    for asked, said in (
        (["--nodes", "7"], "of 4 nodes"),
        (["--base-port", "22000"], "base port 21000"),
        (["--genesis", str(settings)], "other settings"),
    ):
        refused = watt(network.directory, "up", *asked)
        assert refused.exit_code == 1 and refused.stderr.startswith("watt: testnet-exists: ")
        assert said in refused.stderr
    assert Cluster(network).stop_all() == []


def test_a_node_that_ends_at_once_is_not_said_to_be_started(tmp_path: Path) -> None:
    network = build_network(tmp_path / "net", {}, base_port=None)
    node = network.nodes[0]
    node.config_path.write_text(node.config_path.read_text().replace('"node.key.json"', '"none.json"'))
    restarted = watt(network.directory, "restart", node.name)
    assert restarted.exit_code == 1
    assert restarted.stderr.startswith(f"watt: node-ended: {node.name}: watt: no-key-file: ")


def test_another_networks_node_is_not_taken_for_ours(tmp_path: Path) -> None:
    base = free_base_port()
    other = Cluster(build_network(tmp_path / "other", {}, base_port=base))
    mine = Cluster(build_network(tmp_path / "mine", {}, base_port=base))
    try:
        other.start(other.network.nodes[0])
        other.wait_answer(other.network.nodes[0])
        assert all(status.info is None for status in mine.status())
        restarted = watt(mine.network.directory, "restart", "node-0")
    finally:
        other.stop_all()
    assert restarted.exit_code == 1
    assert restarted.stderr.startswith("watt: node-ended: node-0: watt: port-in-use: ")


def test_a_pid_file_with_a_foreign_pid_is_not_believed(tmp_path: Path) -> None:
    network = build_network(tmp_path / "net", {}, base_port=None)
    cluster = Cluster(network)
    (network.nodes[0].directory / "pid").write_text(f"{os.getpid()}\n")
    assert cluster.pid(network.nodes[0]) is None
    assert cluster.stop_all() == []
    with pytest.raises(RefusedError, match="not-running"):
        cluster.kill(network.nodes[0])


@pytest.mark.parametrize(
    ("name", "code"), [("node-1", "node-exists"), ("../x", "bad-config"), ("Bad Name", "bad-config")]
)
def test_a_name_that_no_new_node_can_have_leaves_nothing_behind(tmp_path: Path, name: str, code: str) -> None:
    network = build_network(tmp_path / "net", {}, base_port=None)
    before = sorted(network.directory.rglob("*"))
    with pytest.raises(RefusedError) as refusal:
        make_node(network, name)
    assert refusal.value.code == code and sorted(network.directory.rglob("*")) == before
