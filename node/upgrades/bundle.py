"""What an upgrade of contracts consists of: a directory with a manifest and Python modules, and nothing else.

    upgrade.json    {"name": "night-rates", "version": "2", "contracts": ["club"], "summary": "one line for people"}
    upgrade.py      CONTRACTS: the contracts, each of which replaces the one of its name or is new; migrate(ctx)
    rates.py ...    what these import, as ``from . import rates``

The *digest* covers every file's name and every byte. It is what members vote on, so what they vote on is what runs:
modules are run from the bytes that were digested and not read again. Before any of them is run all are checked as
contracts are (``chaincode/checker.py``): a fence for honest authors, no sandbox; whoever approves has read them.

They are loaded as a package of their own below ``chaincode``, named by the digest, so that two versions of a module
never meet. ``chaincode``'s own modules they import as contracts do, and get the program's. The migration runs from a
second package, whose modules count what they do (``counted.py``).
"""

import importlib
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Annotated, Final, NamedTuple

import msgspec

from chaincode import upgrades
from chaincode.checker import BUNDLES, CheckError, check_bundle
from chaincode.contract import Contract
from chaincode.registry import default_registry, registry_with
from node.errors import RefusedError
from node.model.codec import encode, sha256
from node.upgrades import endless
from node.upgrades.counted import LOADING_PASSES, NAME, PASSES, bounded, counted

MANIFEST: Final = "upgrade.json"
MAIN: Final = "upgrade"
MAX_FILES: Final = 32
MAX_FILE_BYTES: Final = 256 * 1024
MAX_BUNDLE_BYTES: Final = 1024 * 1024
DIGEST_BYTES: Final = 32
_TAG: Final = b"watt/bundle/1\0"
_IGNORED: Final = ("__pycache__",)
"""What Python leaves beside modules that somebody has tried out; it is no part of the bundle."""

Name = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9-]{0,47}$")]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``contracts``: the names of those that the bundle replaces or adds; ``summary``: for people, one line."""

    name: Name
    version: Annotated[str, msgspec.Meta(min_length=1, max_length=32, pattern="^[0-9A-Za-z.-]+$")]
    contracts: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=64)]
    summary: Annotated[str, msgspec.Meta(max_length=200, pattern="^[^\\x00-\\x1f\\x7f]*$")] = ""


class Files(NamedTuple):
    """A bundle as it was read. ``files``: name to bytes, the manifest's among them."""

    manifest: Manifest
    files: Mapping[str, bytes]
    digest: bytes


def read_bundle(directory: Path) -> Files:
    """Read a bundle from disk. Raises RefusedError("bad-bundle") naming the file that is at fault."""
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.name not in _IGNORED)
        if len(names) > MAX_FILES:
            raise _bad(directory, f"{len(names)} files, at most {MAX_FILES}")
        files = {name: _content(directory / name) for name in names}
    except OSError as error:
        raise _bad(directory, error.strerror or str(error)) from error
    if sum(map(len, files.values())) > MAX_BUNDLE_BYTES:
        raise _bad(directory, f"more than {MAX_BUNDLE_BYTES} bytes")
    for name in (MANIFEST, f"{MAIN}.py"):
        if name not in files:
            raise _bad(directory, f"there is no {name} in it")
    try:
        manifest = msgspec.json.decode(files[MANIFEST], type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(directory / MANIFEST, str(error)) from error
    return Files(manifest, files, sha256(_TAG, encode(tuple(files.items()))))


def load(bundle: Files) -> upgrades.Bundle:
    """Check and load the modules. The same digest is loaded once in a process.

    Raises RefusedError("bad-bundle"): a module breaks a rule of contracts, does not load, or the contracts are not
    those of the manifest, or cannot stand beside the program's own.
    """
    known = _loaded.get(bundle.digest)
    if known is None:
        known = _loaded[bundle.digest] = _load(bundle)
    return known


def _load(bundle: Files) -> upgrades.Bundle:
    package = BUNDLES + bundle.digest.hex()
    packages = (package, package + _COUNTED)
    sources = {}
    for name, data in bundle.files.items():
        if name != MANIFEST:
            try:
                sources[f"{package}.{name.removesuffix('.py')}"] = (f"{bundle.manifest.name}/{name}", data.decode())
            except UnicodeDecodeError as error:
                raise _bad(Path(name), "not UTF-8") from error
    try:
        check_bundle(sources)
        _modules.add(package, sources)
        with PASSES.within(LOADING_PASSES):  # first, for here alone would a module without an end be stopped
            migration = bounded(_migration(importlib.import_module(f"{package}{_COUNTED}.{MAIN}")))
        found = upgrades.Bundle(_contracts(importlib.import_module(f"{package}.{MAIN}")), migration)
        _check_contracts(bundle, found)
    except RefusedError:
        _modules.remove(packages)
        raise
    except CheckError as error:
        _modules.remove(packages)
        raise _bad(Path(bundle.manifest.name), str(error)) from error
    except Exception as error:  # whatever the modules of somebody else raise when they are run
        _modules.remove(packages)
        raise _bad(Path(bundle.manifest.name), f"it does not load: {type(error).__name__}: {error}") from error
    return found


def _contracts(main: ModuleType) -> tuple[Contract, ...]:
    found = getattr(main, "CONTRACTS", None)
    if not isinstance(found, tuple) or not all(isinstance(each, Contract) for each in found):
        raise _bad(Path(f"{MAIN}.py"), "CONTRACTS is a tuple of contracts")
    return found


def _migration(main: ModuleType) -> upgrades.Migrate:
    found = getattr(main, "migrate", None)
    if not callable(found):
        raise _bad(Path(f"{MAIN}.py"), "there is no migrate(ctx); one that has nothing to do says so")
    migrate: upgrades.Migrate = found
    return migrate


def _check_contracts(bundle: Files, found: upgrades.Bundle) -> None:
    names = [contract.name for contract in found.contracts]
    if sorted(names) != sorted(bundle.manifest.contracts):
        raise _bad(Path(MANIFEST), f"contracts: it names {list(bundle.manifest.contracts)}, {MAIN}.py has {names}")
    for name in names:
        if names.count(name) > 1:
            raise _bad(Path(f"{MAIN}.py"), f"two contracts are called {name}")
        if name in upgrades.RESERVED:
            raise _bad(Path(MANIFEST), f"{name} decides about upgrades, and is not changed by one")
    row = upgrades.Active(bundle.manifest.name, bundle.digest, 1, tuple(names))
    try:
        registry_with(lambda digest: found).at({upgrades.ACTIVE: (tuple(row),)}.get)  # type: ignore[arg-type]
    except ValueError as error:
        raise _bad(Path(f"{MAIN}.py"), str(error)) from error


def replaced(manifest: Manifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which contracts of the program a bundle replaces, and which it adds."""
    own = {contract.name for contract in default_registry().contracts}
    return (
        tuple([name for name in manifest.contracts if name in own]),
        tuple([name for name in manifest.contracts if name not in own]),
    )


def _content(path: Path) -> bytes:
    """A file of a bundle: plain, not a link to elsewhere, and not too long."""
    name = path.name
    if name != MANIFEST and not (name.endswith(".py") and _is_module(name[:-3])):
        raise _bad(path, f"a bundle holds {MANIFEST} and Python modules named by a-z 0-9 _, and nothing else")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            raise _bad(path, f"not a plain file of at most {MAX_FILE_BYTES} bytes")
        with os.fdopen(os.dup(handle), "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > MAX_FILE_BYTES:
        raise _bad(path, f"more than {MAX_FILE_BYTES} bytes")
    return data


def _is_module(name: str) -> bool:
    return name.isascii() and name.isidentifier() and name == name.lower() and not name.startswith("_")


def _bad(path: Path, why: str) -> RefusedError:
    return RefusedError("bad-bundle", f"{path}: {why}")


class _Modules(MetaPathFinder, InspectLoader):
    """Gives Python the modules of bundles, out of memory. ``add`` before they are imported."""

    def __init__(self) -> None:
        self._sources: dict[str, tuple[str, str]] = {}

    def add(self, package: str, sources: Mapping[str, tuple[str, str]]) -> None:
        """The modules of a package: name to (path, text). They can be had as they are, and counted."""
        for suffix in ("", _COUNTED):
            self._sources[package + suffix] = (package, "")
            for name, source in sources.items():
                self._sources[package + suffix + name.removeprefix(package)] = source

    def remove(self, packages: Sequence[str]) -> None:
        """Forget packages, and what of them was imported."""
        for names in (self._sources, sys.modules):
            for name in [each for each in names if each.startswith(BUNDLES) and _package_of(each) in packages]:
                del names[name]

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        found = self._sources.get(name)
        return None if found is None else spec_from_loader(name, self, origin=found[0])

    def get_source(self, fullname: str) -> str:
        return self._sources[fullname][1]

    def get_code(self, fullname: str) -> CodeType:
        path, text = self._sources[fullname]
        tree = counted(text, path) if _package_of(fullname).endswith(_COUNTED) else text
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)[NAME] = PASSES.count
        if _package_of(module.__name__).endswith(_COUNTED):
            vars(module)["iter"] = endless.iter
        super().exec_module(module)

    def is_package(self, fullname: str) -> bool:
        return fullname.rpartition(".")[0] == "chaincode"


def _package_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


_COUNTED: Final = "_counted"
_modules: Final = _Modules()
_loaded: Final[dict[bytes, upgrades.Bundle]] = {}
sys.meta_path.append(_modules)
