"""A broker's configuration: one JSON file for all the homes that a process trades for."""

from pathlib import Path

import msgspec

from node.errors import ConfigError


class Battery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the ledger does not know of a battery. ``level_wh``: its charge when slot ``level_slot`` begins."""

    capacity_wh: int
    efficiency_permille: int
    level_wh: int
    level_slot: int


class Ev(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The EV must take ``need_wh`` in the slots [first_slot, departure_slot)."""

    need_wh: int
    first_slot: int
    departure_slot: int


class Home(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``key_file``: a key that may trade for the network's devices. ``load_wh`` and ``sun_wh``: what was measured in
    each slot of the last day, beginning at UTC midnight: the forecast for every day to come."""

    network: str
    key_file: str
    load_wh: tuple[int, ...]
    sun_wh: tuple[int, ...]
    battery: Battery | None = None
    ev: Ev | None = None


class BrokerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``gateways``: host:port of nodes, tried in turn. Orders are placed for slots [first_slot, end_slot) and decided
    every ``decide_s`` seconds of block time; ``poll_ms``: how often block time is asked for, in real time."""

    gateways: tuple[str, ...]
    homes: tuple[Home, ...]
    passphrase_file: str = ""
    first_slot: int = 0
    end_slot: int = 2**48
    decide_s: int = 600
    poll_ms: int = 5_000


def load_config(path: Path) -> BrokerConfig:
    """Read and check a configuration. Raises ConfigError: "no-config", "bad-config"."""
    try:
        config = msgspec.json.decode(path.read_bytes(), type=BrokerConfig)
    except OSError as error:
        raise ConfigError("no-config", f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError("bad-config", f"{path}: {error}") from error
    fault = _fault(config)
    if fault is not None:
        raise ConfigError("bad-config", f"{path}: {fault}")
    return config


def _fault(config: BrokerConfig) -> str | None:
    if not config.gateways or not config.homes:
        return "it names no gateways, or no homes"
    if config.decide_s < 1 or config.poll_ms < 1:
        return "decide_s and poll_ms are at least 1"
    for home in config.homes:
        if not home.load_wh or len(home.load_wh) != len(home.sun_wh):
            return f"{home.network}: load_wh and sun_wh have one figure for each slot of a day"
        if min(*home.load_wh, *home.sun_wh) < 0:
            return f"{home.network}: energies are not negative"
    return None
