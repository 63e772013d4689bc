"""Three homes on one street: something to trade with on a fresh `watt testnet up`.

    transformer --- bus-1: home-1 (load, pv)    bus-2: home-2 (load, battery)    bus-3: home-3 (load, ev)

Keys lie in DIR/keys, one file each, all under the passphrase in DIR/keys/passphrase: ``utility`` (also grid operator
and admin), for every home its owner's (``home-1``), its meters' (``home-1.meter``) and its devices' (``home-1.pv``).
When the network runs, the utility issues each home a budget for the current period, and for the next one if that
begins soon, and the owners allocate it.

They may hang on another grid (``testnet/placing.py``).
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from chaincode.pseudonyms import ENTROPY_BYTES
from cli.grid_file import GridVersion
from node.gateway.client import Client, TxStatus
from node.keyfile import load_key, read_passphrase, write_private
from node.model.keys import SigningKey
from node.model.transaction import sign_transaction
from testnet.genesis import PASSPHRASE_NAME, Network, build_network, check_plan, load_network, new_files, new_key

NAME: Final = "street"
KEYS_NAME: Final = "keys"
HOMES: Final = {"home-1": ("load", "pv"), "home-2": ("load", "battery"), "home-3": ("load", "ev")}
UTILITY: Final = "utility"
IMPORT_W: Final = {"load": 5_000, "pv": 0, "battery": 3_000, "ev": 7_000}
EXPORT_W: Final = {"load": 0, "pv": 6_000, "battery": 3_000, "ev": 0}

PAR: Final = 1_000_000
RETENTION_S: Final = 90 * 86_400
"""So long after a slot is final its readings stay: three months, for bills to be looked at."""
TARIFFS: Final = ((0, 700_000, 200_000), (7 * 3600, 1_000_000, 300_000), (21 * 3600, 700_000, 200_000))
"""(second of the UTC day, retail, feed-in), base units per Wh."""
PERIOD_SLOTS: Final = 30 * 48
BUDGET: Final = 300 * 10**9
"""Base units for each home and period: 300 tokens, worth 300 kWh at par."""
VALID_S: Final = 600
AHEAD_S: Final = 2 * 86_400
"""Orders are for slots until a day ahead, which may be of the next period: homes that could not buy for tomorrow are of
little use on a period's last day."""


class Place(NamedTuple):
    """A grid, and where the homes hang on it."""

    grid: GridVersion
    buses: tuple[str, ...]


_LINES: Final = tuple(("transformer", f"bus-{home[-1]}", 50, 5_000, None, None) for home in HOMES)
STREET: Final = Place(GridVersion("transformer", 0, _LINES), tuple(line[1] for line in _LINES))


def build_neighbourhood(
    directory: Path,
    *,
    nodes: int,
    base_port: int | None,
    place: Place = STREET,
    time_scale: int = 1,
    time_origin: int | None = None,
    market: Mapping[str, Any] | None = None,
    tls: bool = False,
) -> Network:
    """A new network with the street in its genesis; ``market``: genesis settings of the market beside the street's,
    ``time_scale``, ``time_origin`` and ``tls`` as in ``build_network``, whose errors it raises.
    """
    check_plan(nodes, base_port)
    with new_files(directory) as work:
        keys = work / KEYS_NAME
        keys.mkdir()
        passphrase = secrets.token_urlsafe(24)
        write_private(keys / PASSPHRASE_NAME, passphrase.encode() + b"\n")
        public = {name: new_key(keys / f"{name}.json", passphrase) for name in _key_names()}
        settings = _settings(public, place)
        settings["market"].update(market or {})
        build_network(
            work,
            settings,
            nodes=nodes,
            base_port=base_port,
            name=NAME,
            time_scale=time_scale,
            time_origin=time_origin,
            tls=tls,
        )
    return load_network(directory)


def neighbourhood_key(directory: Path, name: str) -> SigningKey:
    """One of the street's keys: "utility", "home-1", "home-1.meter", "home-1.pv", ..."""
    keys = directory / KEYS_NAME
    return load_key(keys / f"{name}.json", read_passphrase(keys / PASSPHRASE_NAME) or "")


def is_neighbourhood(network: Network) -> bool:
    """Whether the network was made by ``build_neighbourhood``."""
    return network.genesis.name == NAME and (network.directory / KEYS_NAME).is_dir()


async def fund(network: Network) -> None:
    """Stir the secret of pseudonyms, issue every home its budget for each period of the next two days and allocate it
    evenly; once: a second call changes nothing.

    Raises RefusedError if a node refuses it or it takes too long.
    """
    utility = neighbourhood_key(network.directory, UTILITY)
    async with network.client() as client:
        now = (await client.node_info()).now
        if not await client.query("privacy", "is_secret"):
            await _settle(client, utility, "privacy", "add_entropy", {"entropy": secrets.token_bytes(ENTROPY_BYTES)})
        for period in sorted({time // 1800 // PERIOD_SLOTS for time in (now, now + AHEAD_S)}):
            for home, devices in HOMES.items():
                issue = {"network": home, "period": period, "amount": BUDGET, "reference": b"first budget"}
                if (await _settle(client, utility, "budget", "issue", issue)).code != "ok":
                    continue  # it has one
                shares = [[f"{home}/{device}", BUDGET // len(devices)] for device in devices]
                allocate = {"network": home, "period": period, "amounts": shares}
                await _settle(client, neighbourhood_key(network.directory, home), "budget", "allocate", allocate)


async def _settle(client: Client, key: SigningKey, contract: str, method: str, args: dict[str, Any]) -> TxStatus:
    info, nonce = await client.node_info(), await client.nonce(key.public_key) + 1
    raw = sign_transaction(key, info.chain, nonce, contract, method, args, info.now + VALID_S).raw
    return await client.wait(await client.submit(raw))


def _key_names() -> list[str]:
    names = [UTILITY]
    for home, devices in HOMES.items():
        names += [home, f"{home}.meter", *(f"{home}.{device}" for device in devices)]
    return names


def _settings(public: dict[str, str], place: Place) -> dict[str, dict[str, Any]]:
    bus_of = dict(zip(HOMES, place.buses, strict=True))
    networks = [[home, UTILITY, public[home], bus_of[home]] for home in HOMES]
    devices = [
        [
            f"{home}/{kind}",
            home,
            kind,
            public[f"{home}.{kind}"],
            public[f"{home}.meter"],
            bus_of[home],
            IMPORT_W[kind],
            EXPORT_W[kind],
            kind == "load",
            kind == "pv",
        ]
        for home, kinds in HOMES.items()
        for kind in kinds
    ]
    return {
        "identity": {
            "admins": [public[UTILITY]],
            "members": [[UTILITY, public[UTILITY], ["utility", "grid-operator"]]],
            "networks": networks,
            "devices": devices,
        },
        "grid": place.grid.settings(),
        "market": {"tariffs": [list(row) for row in TARIFFS], "retention_s": RETENTION_S},
        "budget": {"period_slots": PERIOD_SLOTS},
    }
