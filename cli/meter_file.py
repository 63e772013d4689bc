"""Readings in files: a table that a meter's software writes, and rows that a meter has signed for a collector.

    slot,import,export,import_register,export_register
    2017-06-16T12:30,0.4kWh,0,1204.6kWh,87kWh

The table is CSV, UTF-8, its columns in any order: ``slot`` is a number or a UTC time in the slot; energies are Wh, or
say kWh; the registers are those at the slot's end. Empty rows and rows that begin with ``#`` are skipped.

A signed row is one line of JSON (``SignedRow``), so that files can be joined and cut like any text. Every refusal names
the file and the line.
"""

import csv
import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import click
import msgspec

from chaincode.contract import ContractError
from chaincode.roles import MAX_ID
from chaincode.settlement_messages import reading_message
from cli.output import plain
from cli.slots import SLOT
from cli.units import ENERGY, MAX_INTEGER
from node.errors import RefusedError
from node.files import read_start
from node.model.keys import SIGNATURE_BYTES, Signer, verify

COLUMNS: Final = ("slot", "import", "export", "import_register", "export_register")
MAX_FILE_BYTES: Final = 32 * 1024 * 1024
MAX_ROWS: Final = 100_000
_SHOWN: Final = 60


class Row(NamedTuple):
    """A slot's reading, and where it stands. Energies and registers in Wh."""

    slot: int
    import_wh: int
    export_wh: int
    import_register: int
    export_register: int
    place: str

    @property
    def figures(self) -> tuple[int, int, int, int]:
        return self[1:5]


class SignedRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reading that its meter has signed. ``chain`` and ``signature``: hex; energies and registers in Wh."""

    chain: str
    device: str
    slot: int
    import_wh: int
    export_wh: int
    import_register: int
    export_register: int
    signature: str

    def call_row(self) -> tuple[str, int, int, int, int, int, bytes]:
        """As ``settlement.collect`` takes it."""
        figures = self.import_wh, self.export_wh, self.import_register, self.export_register
        return (self.device, self.slot, *figures, bytes.fromhex(self.signature))

    def is_signed_by(self, meter_key: bytes) -> bool:
        """Whether the meter with this key has signed exactly this."""
        try:
            message = _message(bytes.fromhex(self.chain), self.device, self.slot, self.call_row()[2:6])
        except ContractError:
            return False
        return verify(meter_key, message, bytes.fromhex(self.signature))


class Collected(NamedTuple):
    """A signed row, and where it stands."""

    row: SignedRow
    place: str


_decoder = msgspec.json.Decoder(SignedRow)


def read_table(path: Path, slot_seconds: int) -> list[Row]:
    """The readings in a CSV file, by slot. Raises RefusedError: cannot-read, too-large, bad-csv."""
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    rows: list[Row] = []
    try:
        for cells in reader:
            place = f"{path}:{reader.line_num}"
            if not any(cells) or cells[0].startswith("#"):
                continue
            if not columns:
                columns = _header(cells, place)
            else:
                rows.append(_row(columns, cells, slot_seconds, place))
    except csv.Error as error:
        raise RefusedError("bad-csv", f"{path}:{reader.line_num}: {error}") from error
    if not rows:
        raise RefusedError("bad-csv", f"{path}: no readings in it; columns: {', '.join(COLUMNS)}")
    rows.sort(key=lambda row: row.slot)
    for one, other in pairwise(rows):
        if one.slot == other.slot:
            raise RefusedError("bad-csv", f"{other.place}: slot {one.slot} stands in {one.place} too")
    return rows


def runs(rows: Sequence[Row], most: int) -> list[list[Row]]:
    """``rows`` cut into consecutive slots, at most ``most`` together."""
    found: list[list[Row]] = []
    for row in rows:
        if found and len(found[-1]) < most and found[-1][-1].slot + 1 == row.slot:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def sign_row(signer: Signer, chain: bytes, device: str, row: Row) -> SignedRow:
    """What the meter hands to a collector. Needs no network. Raises RefusedError("out-of-range")."""
    try:
        message = _message(chain, device, row.slot, row.figures)
    except ContractError as error:
        raise RefusedError("out-of-range", f"{row.place}: {error.message}") from error
    return SignedRow(chain.hex(), device, row.slot, *row.figures, signer.sign(message).hex())


def read_signed(path: Path) -> list[Collected]:
    """The signed rows in a file. Raises RefusedError: cannot-read, too-large, bad-row."""
    found = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            row = _decoder.decode(line)
            lengths = len(bytes.fromhex(row.chain)), len(bytes.fromhex(row.signature))
        except (msgspec.MsgspecError, ValueError) as error:
            raise RefusedError("bad-row", f"{place}: not what `watt meter sign` prints: {error}") from error
        figures = row.call_row()[1:6]
        is_good = lengths == (32, SIGNATURE_BYTES) and 0 <= min(figures) <= max(figures) <= MAX_INTEGER
        # Of a longer name a node refuses to be asked anything: the rows of all others would go with it.
        if not is_good or len(row.device) > MAX_ID:
            raise RefusedError("bad-row", f"{place}: not what `watt meter sign` prints")
        found.append(Collected(row, place))
    return found


def _message(chain: bytes, device: str, slot: int, figures: tuple[int, int, int, int]) -> bytes:
    return reading_message(chain, device, slot, figures[:2], figures[2:])


def _text(path: Path) -> str:
    try:
        data = read_start(path, MAX_FILE_BYTES)
    except OSError as error:
        raise RefusedError("cannot-read", f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES or data.count(b"\n") > MAX_ROWS:
        raise RefusedError("too-large", f"{path}: more than {MAX_FILE_BYTES} bytes or {MAX_ROWS} lines")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise RefusedError("bad-csv", f"{path}:{number}: not UTF-8 text") from error


def _header(cells: Sequence[str], place: str) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    if sorted(columns) != sorted(COLUMNS):
        raise RefusedError("bad-csv", f"{place}: the columns are {', '.join(COLUMNS)}")
    return columns


def _row(columns: Sequence[str], cells: Sequence[str], slot_seconds: int, place: str) -> Row:
    if len(cells) != len(COLUMNS):  # more than those: a comma in a number would move all behind it
        raise RefusedError("bad-csv", f"{place}: {len(cells)} cells, not {len(COLUMNS)}")
    cell = dict(zip(columns, cells, strict=True))
    try:
        slot = SLOT.convert(cell["slot"], None, None).at(slot_seconds)
        figures = [ENERGY.convert(cell[name].strip(), None, None) for name in COLUMNS[1:]]
    except click.BadParameter as error:
        raise RefusedError("bad-csv", f"{place}: {plain(error.message)[: 2 * _SHOWN]}") from error
    return Row(slot, figures[0], figures[1], figures[2], figures[3], place)
