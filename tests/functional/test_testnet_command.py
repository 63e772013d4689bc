"""`watt testnet` from the outside: what a developer types first."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.errors import RefusedError
from testnet.cluster import Cluster
from testnet.genesis import PEER_PORTS_OFFSET, build_network


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
    for base in range(21_000, 29_000, 250):
        wanted = [base + offset + i for offset in (1, PEER_PORTS_OFFSET + 1) for i in range(4)]
        try:
            for port in wanted:
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


def test_up_status_kill_restart_stop_down(tmp_path: Path) -> None:
    directory = tmp_path / "net"
    base = free_base_port()
    try:
        up = watt(directory, "up", "--nodes", "4", "--base-port", str(base), "--json")
        assert up.exit_code == 0, up.stderr
        first = json.loads(up.stdout)
        assert first["agree"] and [node["gateway"] for node in first["nodes"]] == [
            f"127.0.0.1:{base + 1 + i}" for i in range(4)
        ]

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
    assert up.stderr == f"watt: node-ended: node-1: watt: port-in-use: cannot listen on 127.0.0.1:{base + 2}\n"
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
    nothing = watt(directory, "status")
    assert nothing.exit_code == 1 and nothing.stderr.startswith("watt: no-testnet: ")


def test_a_pid_file_with_a_foreign_pid_is_not_believed(tmp_path: Path) -> None:
    network = build_network(tmp_path / "net", {}, base_port=None)
    cluster = Cluster(network)
    (network.nodes[0].directory / "pid").write_text(f"{os.getpid()}\n")
    assert cluster.pid(network.nodes[0]) is None
    assert cluster.stop_all() == []
    with pytest.raises(RefusedError, match="not-running"):
        cluster.kill(network.nodes[0])
