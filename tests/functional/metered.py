"""A street of metered devices on real nodes, whose slots last a second: `watt` on it, signed by made-up keys."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from click.testing import CliRunner, Result

from cli.main import main
from node.keyfile import TESTNET, save_key
from node.model.codec import sha256
from node.model.keys import SigningKey
from testnet.cluster import Cluster, last_line
from testnet.genesis import GENESIS_NAME, build_network
from tests.functional.trading import as_validator

SLOT_S = 60
START = 1_700_000_000 // SLOT_S * SLOT_S
PASSPHRASE = "secret"
VALIDATOR = "a validator"
"""Who sees everything, for ``by``."""


def key(name: str) -> SigningKey:
    """One of the network's keys."""
    return SigningKey(sha256(b"meter test", name.encode()))


def public(name: str) -> str:
    return key(name).public_key.hex()


class Street:
    """`watt` on the network with a name's key, by default the club's, to which all homes belong."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.node = cluster.network.gateways[0]
        self.network = cluster.network
        self.genesis = cluster.network.directory / GENESIS_NAME
        self.directory = directory

    def run(self, *words: str, by: str | None = None, offline: bool = False) -> Result:
        where = ["--genesis", str(self.genesis)] if offline else ["--node", self.node]
        signing = [] if by in (None, VALIDATOR) else ["--key", self.key_file(str(by))]
        env = {"WATT_PASSPHRASE": PASSPHRASE, "WATT_KEY": self.key_file("club"), "WATT_GENESIS": str(self.genesis)}
        if by == VALIDATOR:
            env |= as_validator(self.network)
        return CliRunner().invoke(main, [*words, *where, *signing], env=env)

    def key_file(self, name: str) -> str:
        """Where the name's key lies; made when it is first asked for."""
        path = self.directory / f"{name.replace('/', '-')}.json"
        if not path.exists():
            save_key(path, key(name), PASSPHRASE, TESTNET)
        return str(path)

    def json(self, *words: str, by: str | None = None, status: int = 0) -> Any:
        result = self.run(*words, "--json", by=by)
        assert result.exit_code == status, result.output
        return json.loads(result.stdout)

    def file(self, name: str, rows: list[tuple[int, int, int, int, int]]) -> str:
        """A meter's file of (slot, import, export, import register, export register)."""
        path = self.directory / name
        lines = [",".join(str(cell) for cell in row) for row in rows]
        path.write_text("\n".join(["slot,import,export,import_register,export_register", *lines, ""]))
        return str(path)


S = TypeVar("S", bound=Street)


def started_street(
    kind: type[S],
    directory: Path,
    devices: tuple[str, ...],
    metering_window_s: int,
    period_slots: int = 1_440,
    dispute_window_s: int = 86_400,
) -> Iterator[S]:
    """Three of four nodes of a street with these devices, whose homes the club keeps; taken down afterwards."""
    contracts: dict[str, Any] = {
        "grid": {"root": "t", "lines": [], "feeder_meter": public("feeder")},
        "identity": {
            "admins": [public("admin")],
            "members": [["club", public("club"), ["aggregator"]], ["utility", public("utility"), ["utility"]]],
            "networks": [
                [network, "club", public(network), "t"]
                for network in dict.fromkeys(device.partition("/")[0] for device in devices)
            ],
            "devices": [
                [name, *name.split("/"), public(name), public(f"{name}.meter"), "t", 60_000, 60_000, False, False]
                for name in devices
            ],
        },
        "budget": {"period_slots": period_slots},
        "market": {
            "tariffs": [[0, 100, 20]],
            "slot_seconds": SLOT_S,
            "open_before_s": 2 * SLOT_S,
            "gate_before_end_s": 10,
            "metering_window_s": metering_window_s,
            "dispute_window_s": dispute_window_s,
            "outage_s": 86_400,
        },
    }
    network = build_network(
        directory / "net", contracts, base_port=None, time_scale=SLOT_S, time_origin=START, name="street"
    )
    cluster = Cluster(replace(network, nodes=network.nodes[:3]))
    try:
        cluster.start_all()
        cluster.wait_ready()
        yield kind(cluster, directory)
    finally:
        cluster.stop_all()
        for node in cluster.network.nodes:
            print(node.name, last_line(node))  # shown by pytest if a test failed
