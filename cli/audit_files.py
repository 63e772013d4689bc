"""The files of an audit: one table each, as CSV or Parquet, and the manifest that names them.

Nothing in these files is believed when they are checked: the rows are made again from the proven answers beside them
and compared, a CSV file byte by byte, a Parquet file value by value. Byte strings (ids, digests) are written in hex,
lists as JSON.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from cli.audit_tables import COLUMNS, Scope
from node.errors import RefusedError
from node.files import read_given
from node.model.codec import Value

MANIFEST: Final = "manifest.json"
ANSWERS: Final = "answers.export"
BLOCKS: Final = "blocks.events"
FORMAT: Final = 2
CSV: Final = "csv"
PARQUET: Final = "parquet"
MAX_MANIFEST_BYTES: Final = 1024 * 1024
MAX_TABLE_BYTES: Final = 1024 * 1024 * 1024

Rows = Sequence[tuple[Value, ...]]


def cell(value: Value) -> int | str | bool | None:
    """A value as it stands in a file."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return json.dumps([cell(each) for each in value])
    return value


def csv_of(columns: Sequence[str], rows: Rows) -> bytes:
    """The whole file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if value is None else value for value in map(cell, row)] for row in rows])
    return text.getvalue().encode()


def write_table(path: Path, columns: Sequence[str], rows: Rows) -> None:
    """Write a table in the format that the file's name ends in. Raises OSError, RefusedError("no-pyarrow")."""
    if path.suffix == f".{CSV}":
        path.write_bytes(csv_of(columns, rows))
        return
    arrow, parquet = _arrow()
    cells = [[cell(value) for value in row] for row in rows]
    arrays = [_array(arrow, [row[index] for row in cells]) for index in range(len(columns))]
    parquet.write_table(arrow.table(dict(zip(columns, arrays, strict=True))), path)


def is_same(path: Path, columns: Sequence[str], rows: Rows) -> bool:
    """Whether the file holds these rows in this order, and nothing else. Raises RefusedError: bad-audit, no-pyarrow."""
    try:
        data = read_given(path, MAX_TABLE_BYTES)
        if path.suffix == f".{CSV}":
            return data == csv_of(columns, rows)
        arrow, parquet = _arrow()
        try:
            table = parquet.read_table(arrow.BufferReader(data))
            found = list(zip(*[column.to_pylist() for column in table.columns], strict=True))
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise _bad(f"{path.name} cannot be read: {error}") from error
    except OSError as error:
        raise _bad(f"{path.name}: {error.strerror}") from error
    return tuple(table.column_names) == tuple(columns) and found == [tuple(map(cell, row)) for row in rows]


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Write it, last of all. Raises OSError."""
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def manifest_of(
    chain: bytes, scope: Scope, slot_seconds: int, kind: str, tables: Mapping[str, int], proven: Mapping[str, Any]
) -> dict[str, Any]:
    """``tables``: rows by name; ``proven``: what the proofs are, for who reads it."""
    return {
        "format": FORMAT,
        "chain": chain.hex(),
        "scope": {**scope._asdict(), "slot_seconds": slot_seconds},
        "kind": kind,
        "tables": {
            name: {"file": f"{name}.{kind}", "rows": count, "columns": list(columns_of(name))}
            for name, count in tables.items()
        },
        "proofs": proven,
    }


def read_manifest(directory: Path) -> tuple[Scope, str, bytes, tuple[str, ...]]:
    """(scope, kind of the files, chain, names of the tables). Raises RefusedError("bad-audit")."""
    try:
        manifest = json.loads(read_given(directory / MANIFEST, MAX_MANIFEST_BYTES))
        if manifest["format"] != FORMAT or manifest["kind"] not in (CSV, PARQUET):
            raise _bad("an export of another version")
        scope, tables = manifest["scope"], tuple(manifest["tables"])
        networks, left_out = scope["networks"], scope["left_out"]
        if not all(type(name) is str and (name in COLUMNS or name == "transfers") for name in tables):
            raise _bad("its manifest names a table that there is not")
        for text in [*(networks or ()), *(text for pair in left_out for text in pair)]:
            if type(text) is not str:
                raise _bad("its manifest cannot be read")
        return (
            Scope(
                int(scope["first"]),
                int(scope["end"]),
                None if networks is None else tuple(networks),
                bool(scope["devices"]),
                tuple([(part, name) for part, name in left_out]),
            ),
            manifest["kind"],
            bytes.fromhex(manifest["chain"]),
            tables,
        )
    except OSError as error:
        raise _bad(f"{directory / MANIFEST}: {error.strerror}") from error
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise _bad(f"its manifest cannot be read: {error}") from error


def columns_of(table: str) -> tuple[str, ...]:
    """The columns of a table."""
    return TRANSFER if table == "transfers" else COLUMNS[table]


TRANSFER: Final = ("height", "time", "place", "source", "target", "amount", "reason", "reference")
"""``place``: of the event in its block."""


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(1024 * 1024):
            digest.update(part)
    return digest.hexdigest()


def _array(arrow: Any, values: list[int | str | bool | None]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if not kinds or kinds == {int}:
        return arrow.array(values, arrow.int64())
    if kinds == {bool}:
        return arrow.array(values, arrow.bool_())
    return arrow.array([None if value is None else str(value) for value in values], arrow.string())


def _arrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise RefusedError("no-pyarrow", "Parquet needs the extra `audit`: pip install 'wattledger[audit]'") from error


def _bad(why: str) -> RefusedError:
    return RefusedError("bad-audit", f"the export cannot be believed: {why}")
