"""A node's configuration: one TOML file, read strictly, frozen. Relative paths are relative to the file."""

import ipaddress
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from node.errors import ConfigError
from node.files import read_given
from node.limits import MEMBER_TRANSACTIONS_PER_SECOND, MEMPOOL_TRANSACTIONS, SENDER_TRANSACTIONS_PER_SECOND
from node.logs import FORMATS, LEVELS, TEXT

MAX_CONFIG_BYTES = 1024 * 1024


class PeerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``listen``: host:port for the other members; ``addresses``: member name to host:port, for all others."""

    listen: str
    addresses: dict[str, str]


class GatewaySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``listen``: host:port for clients; ``certificate``: what they are shown, of the member's CA, and its sealed
    ``key_file``; without, the gateway is plain, and on loopback alone."""

    listen: str
    certificate: str = ""
    key_file: str = ""


class MetricsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``listen``: host:port for operators: metrics, health and readiness; empty: nowhere. ``operators``: the file of
    authorities below which their certificates are; without, it is plain HTTP, and on loopback alone."""

    listen: str = ""
    operators: str = ""


class LogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``level``: what is logged from the start (``watt node log`` changes it); ``format``: "text" or "json"."""

    level: str = "info"
    format: str = TEXT


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``mempool_transactions``: how many may wait; ``verify_workers``: processes that check signatures.
    ``sender_transactions_per_second``, ``member_transactions_per_second``: what a key, and all keys of a member, may
    hand in at this gateway (``docs/admission.md``)."""

    mempool_transactions: int = MEMPOOL_TRANSACTIONS
    verify_workers: int = 1
    sender_transactions_per_second: int = SENDER_TRANSACTIONS_PER_SECOND
    member_transactions_per_second: int = MEMBER_TRANSACTIONS_PER_SECOND


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One member's node. ``member``: its name in genesis. Secrets are sealed files, see ``node/keyfile.py``."""

    member: str
    genesis: str
    data_dir: str
    key_file: str
    tls_key_file: str
    tls_certificate: str
    peer: PeerSection
    gateway: GatewaySection
    passphrase_file: str = ""
    log_file: str = ""
    limits: Limits = Limits()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    directory: str = ""
    """Where the file lies; not a key of the file."""

    def path(self, value: str) -> Path:
        """A path of the file, absolute."""
        return Path(self.directory, value)


def load_config(path: Path) -> Config:
    """Read and check a configuration. Raises ConfigError: "no-config", "bad-config" (names the key at fault)."""
    try:
        text = read_given(path, MAX_CONFIG_BYTES).decode()
    except OSError as error:
        raise ConfigError("no-config", f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("bad-config", f"{path}: not UTF-8 text") from error
    try:
        document: dict[str, Any] = tomllib.loads(text)
        if "directory" in document:
            raise ConfigError("bad-config", f"{path}: unknown key `directory`")
        config = msgspec.convert(document | {"directory": str(path.resolve().parent)}, type=Config)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise ConfigError("bad-config", f"{path}: {error}") from error
    fault = config_fault(config)
    if fault is not None:
        raise ConfigError("bad-config", f"{path}: {fault}")
    return config


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[v6]:port``. Raises ValueError."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"`{address}` is not host:port")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address. Raises ValueError."""
    host, _ = split_address(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def dump_config(config: Config, comment: str) -> str:
    """The TOML of a configuration; every value is a string or an integer."""
    lines = [f"# {line}" for line in comment.splitlines()]
    for name in ("member", "genesis", "data_dir", "key_file", "tls_key_file", "tls_certificate"):
        lines.append(f"{name} = {_quoted(getattr(config, name))}")
    lines += [f"{n} = {_quoted(getattr(config, n))}" for n in ("passphrase_file", "log_file") if getattr(config, n)]
    if config.metrics.listen:
        lines += ["", "[metrics]", *_given(config.metrics)]
    lines += ["", "[peer]", f"listen = {_quoted(config.peer.listen)}", "", "[peer.addresses]"]
    lines += [f"{_quoted(name)} = {_quoted(address)}" for name, address in config.peer.addresses.items()]
    lines += ["", "[gateway]", *_given(config.gateway), "", "[limits]"]
    lines += [f"{name} = {getattr(config.limits, name)}" for name in Limits.__struct_fields__]
    return "\n".join(lines) + "\n"


def _given(section: GatewaySection | MetricsSection) -> list[str]:
    values = {name: getattr(section, name) for name in section.__struct_fields__}
    return [f"{name} = {_quoted(value)}" for name, value in values.items() if value]


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()  # a JSON string is a TOML basic string


def config_fault(config: Config) -> str | None:
    """What is wrong with the values of a configuration; None if nothing is."""
    for name in ("member", "genesis", "data_dir", "key_file", "tls_key_file", "tls_certificate"):
        if not getattr(config, name):
            return f"`{name}` is empty"
    addresses = {"peer.listen": config.peer.listen, "gateway.listen": config.gateway.listen}
    addresses |= {f"peer.addresses.{name}": address for name, address in config.peer.addresses.items()}
    if config.metrics.listen:
        addresses["metrics.listen"] = config.metrics.listen
    for key, address in addresses.items():
        try:
            split_address(address)
        except ValueError as error:
            return f"`{key}`: {error}"
    if config.peer.listen == config.gateway.listen:
        return "`peer.listen` and `gateway.listen` are the same address"
    if config.metrics.listen in (config.peer.listen, config.gateway.listen):
        return "`metrics.listen` is the address of another port of this node"
    if bool(config.gateway.certificate) != bool(config.gateway.key_file):
        return "`gateway.certificate` and `gateway.key_file` go together"
    if config.metrics.operators and not (config.metrics.listen and config.gateway.certificate):
        return "`metrics.operators` needs `metrics.listen`, and `gateway.certificate` to show"
    if config.log.level not in LEVELS:
        return f"`log.level` is one of {', '.join(LEVELS)}"
    if config.log.format not in FORMATS:
        return f"`log.format` is one of {', '.join(FORMATS)}"
    if not 1 <= config.limits.mempool_transactions <= 1_000_000:
        return "`limits.mempool_transactions` is between 1 and 1000000"
    for name in ("sender_transactions_per_second", "member_transactions_per_second"):
        if not 1 <= getattr(config.limits, name) <= 1_000_000:
            return f"`limits.{name}` is between 1 and 1000000"
    if not 1 <= config.limits.verify_workers <= 64:
        return "`limits.verify_workers` is between 1 and 64"
    return None
