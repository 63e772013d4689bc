"""Snapshots on disk: a directory for each, a file for each chunk, and a manifest, written last, that names them all.

A directory without manifest is a draft: under way, or left by a crash. Chunks are not synced when they are written:
the manifest has their digests, and what does not fit them when it is read is thrown away as a whole.
"""

import logging
import os
import re
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from node.errors import CodecError, ConfigError, RefusedError
from node.files import read_given
from node.limits import MAX_CHUNK_BYTES, SNAPSHOTS_KEPT
from node.model.block import decode_header
from node.model.certificate import decode_certificate
from node.snapshot.chunks import checked_upper
from node.snapshot.offer import Offer

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

log = logging.getLogger("watt.snapshot")

SNAPSHOTS_NAME = "snapshots"
"""Within a node's data directory: its shelf."""
JOINING_NAME = "joining"
COMPLETE_NAME = "complete"
"""Within a node's data directory: where a join builds new data, and there, when they are to replace the old ones."""
MANIFEST_NAME = "manifest"
MANIFEST_FORMAT = 1
DRAFT_SUFFIX = ".part"

_NAME = re.compile(r"[0-9]{1,20}")


def require_joined(data: Path) -> None:
    """Raises ConfigError("join-unfinished") if a join was cut short while it put the new data in their place."""
    if (data / JOINING_NAME / COMPLETE_NAME).exists():
        raise ConfigError("join-unfinished", f"{data}: run `watt node join` again, it has only to put files in place")


class Chunk(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a chunk's file has to be: its name, its size in bytes, and the SHA-256 of its content."""

    prefix: str
    size: int
    digest: bytes


class Manifest(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The last file of a snapshot. The fields of ``Offer``, and the chunks in the order of their prefixes."""

    format: int
    height: int
    header: bytes
    certificate: bytes
    depth: int
    nodes: tuple[bytes, ...]
    chunks: tuple[Chunk, ...]

    @property
    def offer(self) -> Offer:
        """What a node tells of it."""
        return Offer(self.header, self.certificate, self.depth, self.nodes)

    @property
    def size(self) -> int:
        """Bytes of all chunks."""
        return sum([chunk.size for chunk in self.chunks])


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Manifest)


class Draft:
    """A snapshot under construction. Every method raises OSError if the disk does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._chunks: dict[str, tuple[int, Hash]] = {}

    def append(self, prefix: str, data: bytes) -> int:
        """Add to a chunk; how many bytes it has now."""
        with (self.directory / prefix).open("ab") as file:
            file.write(data)
        size, digest = self._chunks.get(prefix) or (0, sha256())
        digest.update(data)
        self._chunks[prefix] = (size + len(data), digest)
        return size + len(data)

    def put(self, prefix: str, data: bytes) -> None:
        """Write a whole chunk, whatever an earlier attempt has left of it."""
        (self.directory / prefix).write_bytes(data)
        self.adopt(prefix, data)

    def adopt(self, prefix: str, data: bytes) -> None:
        """A chunk is there already, and its file holds ``data``."""
        self._chunks[prefix] = (len(data), sha256(data))

    def finish(self, offer: Offer, height: int, shelf: Path) -> Path:
        """Write the manifest, durably, and put the snapshot into ``shelf``; where it lies now."""
        chunks = [Chunk(prefix, size, digest.digest()) for prefix, (size, digest) in sorted(self._chunks.items())]
        manifest = Manifest(MANIFEST_FORMAT, height, *offer, tuple(chunks))
        with (self.directory / MANIFEST_NAME).open("wb") as file:
            file.write(_encoder.encode(manifest))
            file.flush()
            os.fsync(file.fileno())
        shelf.mkdir(parents=True, exist_ok=True)
        place = shelf / str(height)
        shutil.rmtree(place, ignore_errors=True)
        self.directory.rename(place)
        return place

    def discard(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.directory, ignore_errors=True)


class Shelf:
    """The snapshots of a node: those whose manifest can be read. A missing directory is an empty shelf."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._kept: dict[int, Manifest] = {}
        self.reload()

    def reload(self) -> None:
        """Read which snapshots there are. Raises OSError."""
        self._kept = {}
        for path in self.directory.iterdir() if self.directory.is_dir() else ():
            if _NAME.fullmatch(path.name):
                manifest = _read(path)
                if manifest is not None:
                    self._kept[manifest.height] = manifest

    @property
    def kept(self) -> Sequence[Manifest]:
        """All, the newest first."""
        # Not key by key: another thread may finish a snapshot, or find a damaged one, meanwhile.
        return sorted(self._kept.values(), key=lambda manifest: manifest.height, reverse=True)

    def draft(self, height: int) -> Draft:
        """A new one; what an earlier attempt has left is removed. Raises OSError."""
        place = self.directory / f"{height}{DRAFT_SUFFIX}"
        shutil.rmtree(place, ignore_errors=True)
        return Draft(place)

    def add(self, draft: Draft, offer: Offer, height: int) -> None:
        """Finish a draft, and remove the oldest snapshots and what crashes have left. Raises OSError."""
        place = draft.finish(offer, height, self.directory)
        manifest = _read(place)
        if manifest is not None:
            self._kept[height] = manifest
        for old in self.kept[SNAPSHOTS_KEPT:]:
            self.drop(old.height)
        for left in self.directory.glob(f"*{DRAFT_SUFFIX}"):
            shutil.rmtree(left, ignore_errors=True)

    def drop(self, height: int) -> None:
        """Remove a snapshot."""
        self._kept.pop(height, None)
        shutil.rmtree(self.directory / str(height), ignore_errors=True)

    def chunk(self, height: int, depth: int, prefix: str) -> bytes:
        """A chunk's bytes. Raises RefusedError("no-snapshot"); one that is damaged is removed with its snapshot."""
        try:
            return self.read(height, depth, prefix)
        except RefusedError as error:
            if error.code == "damaged-snapshot":
                if height in self._kept:
                    log.error("snapshot-damaged height=%d chunk=%s: it is removed; look at the disk", height, prefix)
                self.drop(height)
            raise RefusedError("no-snapshot", error.message) from error

    def read(self, height: int, depth: int, prefix: str) -> bytes:
        """A chunk's bytes, for who only looks. Raises RefusedError: "no-snapshot", "damaged-snapshot"."""
        manifest = self._kept.get(height)
        if manifest is None or manifest.depth != depth:
            raise RefusedError("no-snapshot", f"no snapshot of block {height} in chunks of depth {depth}")
        chunk = next((chunk for chunk in manifest.chunks if chunk.prefix == prefix), None)
        if chunk is None:
            raise RefusedError("no-snapshot", f"the snapshot of block {height} has no chunk {prefix[:8]!r}")
        try:
            data = read_given(self.directory / str(height) / prefix, min(chunk.size, MAX_CHUNK_BYTES))
        except OSError:
            data = b""
        if sha256(data).digest() != chunk.digest:
            raise RefusedError("damaged-snapshot", f"the snapshot of block {height} was damaged")
        return data


def _read(path: Path) -> Manifest | None:
    """The manifest in a snapshot's directory; None, and a line in the log, if it is none."""
    try:
        manifest = parse_manifest(read_given(path / MANIFEST_NAME))  # of data to audit it is not known what it is
    except (OSError, CodecError) as error:
        log.warning("snapshot-unreadable path=%s: %s; it is not served, and may be deleted", path, error)
        return None
    if str(manifest.height) != path.name:
        log.warning("snapshot-unreadable path=%s: it is of block %d", path, manifest.height)
        return None
    return manifest


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in ``data``; what it says of the block and of the tree's upper nodes belongs together, or a damaged
    disk would make this node a liar. Raises CodecError: "malformed", "non-canonical", "wrong-hash"."""
    try:
        manifest = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError("malformed", f"not a manifest: {error}") from error
    if manifest.format != MANIFEST_FORMAT:
        raise CodecError("malformed", f"a manifest of format {manifest.format}")
    header, certificate = decode_header(manifest.header), decode_certificate(manifest.certificate)
    if (header.height, certificate.height, certificate.block_hash) != (manifest.height, header.height, header.hash):
        raise CodecError("malformed", "a manifest whose block, certificate and height differ")
    checked_upper(header.state_root, manifest.depth, manifest.nodes)
    return manifest
