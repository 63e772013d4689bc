"""The wallet's home: what a wallet keeps, so that it believes proofs instead of nodes.

A directory for its owner alone: ``genesis.json``, the network's own document; ``ca.pem``, if its gateways are closed by
TLS; ``nodes``, which to ask; ``trust``, what has been proven since: every change of the members, and the newest block
seen, with its certificate. The trust file is checked from the genesis on whenever it is read, so whoever changes it can
make the wallet forget, and nothing else.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
import msgpack
from click.core import ParameterSource

from cli.informed import InformedClient
from cli.output import plain, refusals_to_exit_codes
from cli.session import use_client
from node.errors import RefusedError, WattError
from node.files import read_given
from node.gateway.client import Client, addresses_in
from node.gateway.proven import Keep, KnownEpochs, ProvenReader
from node.light import LightChain, LightError, read_header
from node.model.genesis import Genesis, load_document, load_genesis, parse_genesis
from node.model.keys import Signer
from node.upgrades.library import client_registry

DEFAULT_HOME: Final = "~/.watt"
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
GENESIS: Final = "genesis.json"
CA: Final = "ca.pem"
NODES: Final = "nodes"
TRUST: Final = "trust"

_SLOT_SECONDS: Final = 1_800
"""Of a genesis document that does not say."""
_OLDEST_SLOTS: Final = 2
_OLDEST_CLOCK_S: Final = 60


class Home:
    """A wallet's directory. Files are replaced whole, or stay as they were."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether there is one."""
        return (self.path / GENESIS).exists()

    def create(self, genesis: bytes, ca: bytes | None, nodes: tuple[str, ...], light: LightChain) -> None:
        """Write a new home. Raises RefusedError("wallet-exists") if there is one of another chain, "cannot-write"."""
        if self.exists() and self.genesis().chain != light.chain:
            raise RefusedError("wallet-exists", f"{self.path} is the home of a wallet of another network")
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise RefusedError("cannot-write", f"{self.path}: {error.strerror}") from error
        if ca is not None:
            self._write(CA, ca)
        self._write(NODES, "".join(f"{node}\n" for node in nodes).encode())
        self.save(light)
        self._write(GENESIS, genesis)  # last: now it is a home

    def genesis(self) -> Genesis:
        """The network's document. Raises RefusedError("bad-wallet")."""
        try:
            return parse_genesis(self._read(GENESIS) or b"", str(self.path / GENESIS))
        except WattError as error:
            raise RefusedError("bad-wallet", error.message) from error

    def light(self) -> LightChain:
        """What is believed: the genesis document and all that was proven since. Raises RefusedError("bad-wallet") if a
        file is damaged, or others than the owner may write here."""
        self._require_own()
        self.genesis()  # says what is wrong with it
        light = LightChain(self._read(GENESIS) or b"")
        data = self._read(TRUST)
        if data is not None:
            try:
                _restore(light, data)
            except LightError as error:
                advice = "remove it, and the wallet forgets which blocks it has seen"
                raise RefusedError("bad-wallet", f"{self.path / TRUST}: {error.message}; {advice}") from error
        return light

    def nodes(self) -> tuple[str, ...]:
        """The gateways to ask. Raises RefusedError("bad-wallet")."""
        try:
            return tuple(addresses_in([(self._read(NODES) or b"").decode()]))
        except (RefusedError, UnicodeDecodeError) as error:
            raise RefusedError("bad-wallet", f"{self.path / NODES} names no gateways") from error

    def save(self, light: LightChain) -> None:
        """Write down what is believed, unless another program has written down more. Raises
        RefusedError("cannot-write")."""
        kept = self._read(TRUST)
        if kept is not None and light.newest is not None:
            with suppress(LightError, ValueError, TypeError, msgpack.UnpackException):
                if read_header(msgpack.unpackb(kept)[2]).height > light.newest.height:
                    return
        trust = (light.chain, tuple(light.boundaries), light.header, light.certificate)
        self._write(TRUST, msgpack.packb(trust))

    def _require_own(self) -> None:
        for path in (self.path, self.path / GENESIS):
            with suppress(FileNotFoundError):
                if path.stat().st_mode & 0o022:
                    raise RefusedError("bad-wallet", f"others may write {path}: `chmod go-w {path}`")

    def _read(self, name: str) -> bytes | None:
        try:
            return read_given(self.path / name, MAX_FILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RefusedError("bad-wallet", f"{self.path / name}: {error.strerror}") from error

    def _write(self, name: str, data: bytes) -> None:
        part = None
        try:
            descriptor, part = tempfile.mkstemp(prefix=f".{name}-", dir=self.path)  # for its owner alone
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(part).replace(self.path / name)
        except OSError as error:
            if part is not None:
                Path(part).unlink(missing_ok=True)
            raise RefusedError("cannot-write", f"{self.path / name}: {error.strerror}") from error


class Trust:
    """What a command was told to believe in: a wallet's home, a genesis document, or the node. Nothing is read before
    ``reader`` or ``genesis`` asks for it."""

    def __init__(
        self, genesis_file: Path | None, home: Path, trusts_node: bool, any_age: bool, *, is_told: bool = False
    ) -> None:
        """``is_told``: somebody typed what to believe in, so that it contradicts whatever else is said."""
        self.home = None if trusts_node or genesis_file is not None else Home(home)
        self.trusts_node = trusts_node
        self.is_told = is_told
        self._genesis_file = genesis_file
        self._any_age = any_age
        self._light: LightChain | None = None
        self._kept: tuple[int, bytes] | None = None

    def genesis(self) -> Genesis | None:
        """The network's document; None if the node is to be believed. Raises as ``reader`` does."""
        if self.trusts_node:
            return None
        if self.home is None:
            assert self._genesis_file is not None
            return load_genesis(self._genesis_file)
        if not self.home.exists():
            raise no_wallet(self.home)
        return self.home.genesis()

    def reader(self, client: Client, keep: Keep | None = None) -> tuple[ProvenReader, Genesis] | None:
        """What asks a node and checks what it says; None if the node is to be believed. ``keep``: as in
        ``node.gateway.proven``. Raises RefusedError: "no-wallet", "bad-wallet", and ConfigError of a genesis file."""
        if self.trusts_node:
            return None
        if self.home is not None:
            if not self.home.exists():
                raise no_wallet(self.home)
            genesis, light = self.home.genesis(), self.home.light()
        else:
            assert self._genesis_file is not None
            genesis, document = load_document(self._genesis_file)
            light = LightChain(document)
        self._light, self._kept = light, (len(light.boundaries), light.header)
        oldest = None if self._any_age else oldest_accepted(genesis, time.time_ns() // 1_000_000)
        known = KnownEpochs(client, genesis, light, oldest)
        return ProvenReader(client, genesis, client_registry(), keep, known, warn), genesis

    def save(self) -> None:
        """Keep what was learnt. That it cannot be kept is said, and no reason to refuse an answer."""
        light = self._light
        if self.home is None or light is None or self._kept == (len(light.boundaries), light.header):
            return
        try:
            self.home.save(light)
        except RefusedError as error:
            warn(error)


def trust_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command that reads, and believes proofs: --genesis, --wallet, --trust-node and --any-age come to it as
    ``trust``. Of a wallet's home it takes the nodes and the CA, too, if it is not told others."""
    return _trusting(command, must_prove=True)


def proof_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same for a command that has proofs wherever there is a genesis document or a wallet's home, and without
    either believes the node, or says itself what it needs."""
    return _trusting(command, must_prove=False)


def _trusting(command: Callable[..., None], *, must_prove: bool) -> Callable[..., None]:
    @refusals_to_exit_codes
    @wraps(command)
    def gathered(
        genesis_file: Path | None, wallet_home: Path | None, trusts_node: bool, any_age: bool, **options: Any
    ) -> None:
        genesis_file, home = _told(genesis_file, wallet_home)
        has_nothing = genesis_file is None and wallet_home is None and not Home(home).exists()
        is_told = trusts_node or _is_typed("genesis_file") or _is_typed("wallet_home")
        trust = Trust(genesis_file, home, trusts_node or (has_nothing and not must_prove), any_age, is_told=is_told)
        use_client(None if trust.home is None else clients_of(trust.home))
        try:
            command(trust=trust, **options)
        finally:
            trust.save()

    described: Callable[..., None] = gathered
    for option in (
        click.option("--any-age", is_flag=True, help="Accept the newest block however old: the network stands still."),
        click.option(
            "--trust-node", "trusts_node", is_flag=True, help="Believe the node: nothing that it says is checked."
        ),
        wallet_option,
        _genesis_option,
    ):
        described = option(described)
    return described


def own_genesis(command: Callable[..., None]) -> Callable[..., None]:
    """A command that asks no node and needs the network's document, which comes to it as ``genesis``: --genesis, or
    --wallet."""

    @refusals_to_exit_codes
    @wraps(command)
    def gathered(genesis_file: Path | None, wallet_home: Path | None, **options: Any) -> None:
        trust = Trust(*_told(genesis_file, wallet_home), trusts_node=False, any_age=True)
        command(genesis=trust.genesis(), **options)

    described: Callable[..., None] = wallet_option(gathered)
    return _genesis_option(described)


_genesis_option = click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(path_type=Path),
    envvar="WATT_GENESIS",
    help="Your own copy of the network's genesis.json, instead of a wallet's home. Also WATT_GENESIS.",
)


def genesis_for(trust: Trust, config_file: Path | None) -> Genesis | None:
    """The network's document for a command that asks for proofs, or reads a stopped node's data, which name their own:
    None then. Raises click.UsageError for both, and for neither."""
    if config_file is not None:
        if trust.is_told:
            raise click.UsageError("--config names its own genesis and data: say no --genesis and no --wallet with it")
        return None
    genesis = trust.genesis()
    if genesis is None:
        raise click.UsageError(
            "this has proofs: say --genesis FILE, or have a wallet's home (`watt wallet init`), and ask --node; or say "
            "--config FILE for a stopped node's data"
        )
    return genesis


wallet_option = click.option(
    "--wallet",
    "wallet_home",
    type=click.Path(path_type=Path),
    envvar="WATT_WALLET",
    help=f"The wallet's home, as `watt wallet init` makes it; default {DEFAULT_HOME}. Also WATT_WALLET.",
)


def _told(genesis_file: Path | None, wallet_home: Path | None) -> tuple[Path | None, Path]:
    """The genesis document, if that is meant, and the home. If --wallet was typed that is meant, whatever the
    environment says of a genesis document."""
    home = (wallet_home or Path(DEFAULT_HOME)).expanduser()
    return None if _is_typed("wallet_home") else genesis_file, home


def _is_typed(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def use_home(path: Path) -> None:
    """Let the running command speak to nodes as one does with this home."""
    use_client(clients_of(Home(path)))


def clients_of(home: Home) -> Callable[..., Client] | None:
    """What makes a command's client by a home: its nodes and its CA, unless the command was told others, and a client
    that proves what is looked up. None if there is no such home."""
    if not home.exists():
        return None

    def make(nodes: Sequence[str], key: Signer | None, roots: bytes | None) -> Client:
        if roots is None and (home.path / CA).exists():
            from node.pki.trust import load_roots  # noqa: PLC0415 - as in cli/session.py

            roots = load_roots(home.path / CA)
        genesis, light = home.genesis(), home.light()
        client = InformedClient(home.nodes() if is_default_nodes() else nodes, key, roots, light.chain)
        client.inform(genesis, light)
        return client

    return make


def is_default_nodes() -> bool:
    """Whether the running command was told no nodes to ask."""
    return click.get_current_context().get_parameter_source("nodes") is ParameterSource.DEFAULT


def oldest_accepted(genesis: Genesis, clock_ms: int) -> int | None:
    """The block time from which on a head is recent. The market's calendar makes a block in every slot, so a running
    network's head is not two slots old, and a minute of the clock for what goes wrong; None without a market."""
    market = genesis.contracts.get("market")
    if not market:
        return None
    slot_seconds = market.get("slot_seconds", _SLOT_SECONDS)
    allowed = _OLDEST_SLOTS * (slot_seconds if type(slot_seconds) is int else _SLOT_SECONDS)
    return genesis.block_time(clock_ms) - allowed - _OLDEST_CLOCK_S * genesis.time_scale


def no_wallet(home: Home) -> RefusedError:
    """What to do without a wallet's home."""
    return RefusedError(
        "no-wallet",
        f"{home.path} is no wallet's home: make one with `watt wallet init --genesis FILE --node HOST:PORT`, or give "
        "--genesis FILE; --trust-node believes whatever the node says",
    )


def _restore(light: LightChain, data: bytes) -> None:
    try:
        chain, boundaries, header, certificate = msgpack.unpackb(data)
        if chain != light.chain:
            raise LightError("bad-trust", "it is of another chain")
        for boundary in boundaries:
            light.add_epoch(boundary)
        if header or certificate:
            light.accept(header, certificate)
    except LightError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise LightError("bad-trust", "it is not [chain, boundaries, header, certificate]") from error


def warn(error: WattError) -> None:
    """One line on stderr, of what is no reason to stop."""
    click.echo(f"watt: {error.code}: {plain(' '.join(error.message.split()))}", err=True)
