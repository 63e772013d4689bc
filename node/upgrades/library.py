"""The bundles that are installed on this machine: a directory with one directory for each, named by its digest.

A node looks into ``upgrades`` in its data directory whenever it wants a bundle that it has not loaded, so one that is
installed while it runs is found. Clients look into WATT_UPGRADES, or ~/.watt/upgrades.
"""

import functools
import logging
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, NamedTuple

from chaincode.registry import Registry, registry_with
from chaincode.upgrades import Bundle
from node.checked import noted
from node.errors import ConfigError, RefusedError
from node.files import sync_directory
from node.upgrades.bundle import DIGEST_BYTES, Files, Manifest, load, read_bundle

UPGRADES_NAME: Final = "upgrades"
CLIENT_ENV: Final = "WATT_UPGRADES"
CLIENT_DIRECTORY: Final = "~/.watt/upgrades"

log = logging.getLogger("watt.upgrades")


class Installed(NamedTuple):
    """A bundle that is there. ``fault``: why it cannot be used, "" if it can."""

    digest: bytes
    manifest: Manifest | None
    fault: str


class Library:
    """The bundles in ``directory``, which need not exist."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._found: dict[bytes, Bundle] = {}
        self._damaged: set[bytes] = set()

    def find(self, digest: bytes) -> Bundle | None:
        """The bundle with this digest; None if it is not there, or is not what its name says, which is logged."""
        known = self._found.get(digest)
        if known is not None:
            return known
        place = self.directory / digest.hex()
        if len(digest) != DIGEST_BYTES or not place.is_dir():
            return None
        try:
            files = read_bundle(place)
            if files.digest != digest:
                raise RefusedError("bad-bundle", f"{place}: its digest is {files.digest.hex()}")
            self._found[digest] = load(files)
        except RefusedError as error:
            if digest not in self._damaged:
                log.error("upgrade-damaged digest=%s: %s", digest.hex(), error.message)
                self._damaged.add(digest)
            return None
        return self._found[digest]

    def install(self, source: Path) -> Installed:
        """Check the bundle in ``source`` and copy it here, all or nothing; one that is here already stays.

        Raises RefusedError("bad-bundle"); ConfigError("cannot-write").
        """
        files = read_bundle(source)
        load(files)
        self._put(files)
        return Installed(files.digest, files.manifest, "")

    def take(self, source: Path, digest: bytes) -> None:
        """Copy the bundle with this digest here from ``source``, as ``copy_to`` has put it there. It is not run: who
        vouches for it is known when the chain names it, and one that this program cannot use may be needed by nobody.

        Raises RefusedError("bad-bundle"); ConfigError("cannot-write").
        """
        files = read_bundle(source)
        if files.digest != digest:
            raise RefusedError("bad-bundle", f"{source}: its digest is {files.digest.hex()}")
        self._put(files)

    def copy_to(self, other: "Library") -> tuple[bytes, ...]:
        """Copy all bundles that are what their names say; none of them is run for it. Their digests, in order.

        Raises ConfigError("cannot-write").
        """
        copied = []
        for place, digest in self._places():
            try:
                files = read_bundle(place)
            except RefusedError:
                continue
            if files.digest == digest:
                other._put(files)
                copied.append(digest)
        return tuple(copied)

    def _put(self, files: Files) -> None:
        place = self.directory / files.digest.hex()
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = Path(mkdtemp(prefix=".install-", dir=self.directory))
            try:
                for name, data in files.files.items():
                    with (draft / name).open("xb") as file:
                        file.write(data)
                        file.flush()
                        os.fsync(file.fileno())
                if place.is_dir() and not self._is_whole(place, files.digest):
                    shutil.rmtree(place)
                if not place.is_dir():
                    draft.rename(place)
                    sync_directory(self.directory)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        except OSError as error:
            raise ConfigError("cannot-write", f"{self.directory}: {error.strerror}") from error

    def listed(self) -> list[Installed]:
        """What is installed, by name, whether it can be used or not."""
        rows = []
        for place, digest in self._places():
            try:
                files = read_bundle(place)
                load(files)
                fault = "" if files.digest == digest else f"its digest is {files.digest.hex()}"
                rows.append(Installed(digest, files.manifest, fault))
            except RefusedError as error:
                rows.append(Installed(digest, None, error.message))
        return sorted(rows, key=lambda row: (row.manifest.name if row.manifest else "", row.digest))

    def _places(self) -> list[tuple[Path, bytes]]:
        """Where there should be a bundle, and of which digest."""
        found = sorted(self.directory.glob("[0-9a-f]" * (2 * DIGEST_BYTES)))
        return [(place, bytes.fromhex(place.name)) for place in found]

    @staticmethod
    def _is_whole(place: Path, digest: bytes) -> bool:
        try:
            return read_bundle(place).digest == digest
        except RefusedError:
            return False


def node_registry(data: Path) -> Registry:
    """The program's contracts, with the upgrades that are installed in a node's data directory."""
    with noted():
        return registry_with(Library(data / UPGRADES_NAME).find)


@functools.cache
def client_registry() -> Registry:
    """The program's contracts, with the upgrades that this user has installed. That they are deterministic is for
    nodes to check; a wallet would wait for it at every command."""
    return registry_with(Library(client_directory()).find, check=False)


def client_directory() -> Path:
    """Where this user's bundles lie."""
    return Path(os.environ.get(CLIENT_ENV) or CLIENT_DIRECTORY).expanduser()
