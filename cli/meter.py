"""`watt meter`: readings, by the meter itself or by a collector, and what became of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from chaincode.settlement_metering import MAX_COLLECTED_ROWS, MAX_DAY_ROWS, ROW_CODES
from cli.answers import HIDDEN, as_rows
from cli.meter_file import Collected, Row, read_signed, read_table, runs, sign_row
from cli.meter_readings import readings
from cli.output import EXIT_REFUSED, count, print_json, print_table, refusals_to_exit_codes
from cli.refusals import explain
from cli.session import Account, Signing, ask, open_key, passphrase_option, signed, transact
from cli.slots import SLOT, TITLE, Slot, slot_seconds_of, slot_shown
from cli.units import ENERGY
from cli.wallet_home import own_genesis
from node.errors import RefusedError
from node.gateway.client import Client, TxStatus
from node.model.codec import Value
from node.model.genesis import Genesis
from node.model.keys import Signer

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SLOT_SECONDS: Final = 1_800
_UNSEEN: Final = b""


class Brought(NamedTuple):
    """What became of readings: how many were taken, and those that were not; how long a slot is."""

    taken: int
    refused: list["Refused"]
    slot_seconds: int


class Refused(NamedTuple):
    """A row that was not taken."""

    place: str
    device: str
    slot: int
    code: str


@click.group()
def meter() -> None:
    """Readings: what meters report, sign and correct, and what collectors bring."""


meter.add_command(readings)


@meter.command()
@click.argument("device")
@click.argument("slot", type=SLOT)
@click.option("--import", "import_wh", type=ENERGY, required=True, help="What came in during the slot: 1.5kWh, 1500Wh.")
@click.option("--export", "export_wh", type=ENERGY, required=True, help="What went out.")
@click.option("--import-register", type=ENERGY, required=True, help="The import register at the slot's end.")
@click.option("--export-register", type=ENERGY, required=True, help="The export register at the slot's end.")
@signed
def report(
    device: str,
    slot: Slot,
    import_wh: int,
    export_wh: int,
    import_register: int,
    export_register: int,
    signing: Signing,
    as_json: bool,
) -> None:
    """Report what DEVICE drew and fed in during SLOT. The meter's key signs.

    Example: watt meter report home-3/ev 2017-06-16T14:00 --import 1.5kWh --export 0 --import-register 812kWh
    --export-register 0 --key home-3.meter.key
    """

    async def args(client: Client) -> dict[str, Any]:
        return {
            "device": device,
            "slot": await slot.by(client.query),
            "import_wh": import_wh,
            "export_wh": export_wh,
            "import_register": import_register,
            "export_register": export_register,
        }

    status = transact(*signing, "settlement", "report", args)
    if as_json:
        return print_json({"height": status.height})
    click.echo(f"taken in block {status.height}")


@meter.command()
@click.argument("device")
@click.argument("file", type=_FILE)
@signed
def day(device: str, file: Path, signing: Signing, as_json: bool) -> None:
    """Report what FILE says of DEVICE's slots, a day or so in one transaction. The meter's key signs.

    FILE is CSV with the columns slot, import, export, import_register, export_register. Each slot counts by itself:
    those that are refused are listed, the others are taken.

    Example: watt meter day home-3/ev 2017-06-16.csv --key home-3.meter.key
    """
    key = signing.open()

    async def send(client: Client) -> Brought:
        account = Account(client, key, (await client.node_info()).chain)
        taken, slot_seconds = 0, await slot_seconds_of(client.query)
        refused: list[Refused] = []
        for rows in runs(read_table(file, slot_seconds), MAX_DAY_ROWS):
            args = {"device": device, "first_slot": rows[0].slot, "rows": tuple(row.figures for row in rows)}
            places = [(row.place, device, row.slot) for row in rows]
            here = await _settle(account, "report_day", args, places)
            taken, refused = taken + len(rows) - len(here), refused + here
        return Brought(taken, refused, slot_seconds)

    _told(ask(signing.nodes, send), as_json, "settlement.report_day")


@meter.command()
@click.argument("device")
@click.argument("file", type=_FILE)
@own_genesis
@click.option(
    "--key", "key_file", type=click.Path(path_type=Path), required=True, envvar="WATT_KEY", help="The meter's."
)
@passphrase_option
@refusals_to_exit_codes
def sign(device: str, file: Path, genesis: Genesis, key_file: Path, passphrase_file: Path | None) -> None:
    """Sign what FILE (CSV as for `day`) says of DEVICE, for a collector. Needs no network, only its
    genesis document; prints one line a slot.

    Example: watt meter sign home-3/ev today.csv --genesis genesis.json --key home-3.meter.key > today.signed
    """
    seconds = genesis.contracts.get("market", {}).get("slot_seconds", _SLOT_SECONDS)
    key = open_key(key_file, passphrase_file)
    for row in read_table(file, seconds):
        signed = sign_row(key, genesis.chain, device, row)
        print_json({name: getattr(signed, name) for name in signed.__struct_fields__})


@meter.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
@signed
def collect(files: tuple[Path, ...], signing: Signing, as_json: bool) -> None:
    """Bring readings that meters have signed (FILES as `sign` prints them). An aggregator's key signs.

    Signatures are checked here first. Each row counts by itself: those that are refused are listed, the others are
    taken; to bring a row twice does no harm.

    Example: watt meter collect today/*.signed --key club.key
    """
    rows = sorted(
        [row for file in files for row in read_signed(file)], key=lambda each: (each.row.slot, each.row.device)
    )
    if not rows:
        raise RefusedError("bad-row", f"no readings in {', '.join(str(file) for file in files[:3])}")
    key = signing.open()
    _told(ask(signing.nodes, lambda client: _collect(client, key, rows)), as_json, "settlement.collect")


async def _collect(client: Client, key: Signer, rows: Sequence[Collected]) -> Brought:
    chain = (await client.node_info()).chain
    account = Account(client, key, chain)
    keys: dict[str, bytes | None] = {}
    good: list[Collected] = []
    refused: list[Refused] = []
    for row, place in rows:
        if row.device not in keys:
            keys[row.device] = await _meter_key(client, row.device)
        meter_key = keys[row.device]
        code = "unknown-device" if meter_key is None else "bad-signature"
        is_good = meter_key == _UNSEEN or (meter_key is not None and row.is_signed_by(meter_key))
        if is_good and row.chain == chain.hex():
            good.append(Collected(row, place))
        else:
            refused.append(Refused(place, row.device, row.slot, code))
    taken = 0
    for start in range(0, len(good), MAX_COLLECTED_ROWS):
        part = good[start : start + MAX_COLLECTED_ROWS]
        places = [(place, row.device, row.slot) for row, place in part]
        here = await _settle(account, "collect", {"rows": tuple(row.call_row() for row, _ in part)}, places)
        taken, refused = taken + len(part) - len(here), refused + here
    return Brought(taken, refused, await slot_seconds_of(client.query))


async def _meter_key(client: Client, device: str) -> bytes | None:
    """None if there is no such device; _UNSEEN if the collector may not know, so that the ledger alone checks."""
    try:
        found = await client.query("identity", "device", {"device": device})
    except RefusedError as error:
        if error.code in HIDDEN:
            return _UNSEEN
        if error.code != "unknown-device":
            raise
        return None
    if not isinstance(found, tuple) or not isinstance(found[4], bytes):
        raise RefusedError("bad-answer", "the node's answer is no device: another version?")
    return found[4]


@meter.command()
@click.argument("device")
@click.argument("file", type=_FILE)
@signed
def correct(device: str, file: Path, signing: Signing, as_json: bool) -> None:
    """Correct what is known of DEVICE's slots by what FILE (CSV as for `day`) says, until they are FINAL.

    Slots that follow one another are corrected together or not at all: their registers join one another, and those
    around them. The meter's key signs.

    Example: watt meter correct home-3/ev corrected.csv --key home-3.meter.key
    """
    _correct(file, {"device": device}, "correct", signing.nodes, signing.open(), as_json)


@meter.command()
@click.argument("file", type=_FILE)
@click.option("--correct", "is_correction", is_flag=True, help="Replace what is known of these slots.")
@signed
def feeder(
    file: Path,
    is_correction: bool,
    signing: Signing,
    as_json: bool,
) -> None:
    """Report what passed the transformer (FILE: CSV as for `day`). The feeder meter's key signs.

    Import is what came into the grid, export what went out of it.

    Example: watt meter feeder 2017-06-16.csv --key feeder.key
    """
    key = signing.open()
    if is_correction:
        return _correct(file, {}, "correct_feeder", signing.nodes, key, as_json)

    async def send(client: Client) -> Brought:
        account = Account(client, key, (await client.node_info()).chain)
        refused: list[Refused] = []
        slot_seconds = await slot_seconds_of(client.query)
        rows = read_table(file, slot_seconds)
        for row in rows:
            args = dict(zip(Row._fields[:5], row[:5], strict=True))
            status = await account.outcome("settlement", "report_feeder", args)
            if status.code in ROW_CODES:
                refused.append(Refused(row.place, "", row.slot, status.code))
            elif status.code != "ok":
                raise RefusedError(status.code, explain("settlement.report_feeder", status.code, status.details, 0))
        return Brought(len(rows) - len(refused), refused, slot_seconds)

    _told(ask(signing.nodes, send), as_json, "settlement.report_feeder")


def _correct(
    file: Path, subject: dict[str, Any], method: str, nodes: tuple[str, ...], key: Signer, as_json: bool
) -> None:
    """Send a correction for each run of slots in the file, and say what has changed."""

    async def send(client: Client) -> list[TxStatus]:
        account = Account(client, key, (await client.node_info()).chain)
        done = []
        for rows in runs(read_table(file, await slot_seconds_of(client.query)), MAX_DAY_ROWS):
            args = {**subject, "first_slot": rows[0].slot, "rows": tuple(row.figures for row in rows)}
            try:
                done.append(await account.settle("settlement", method, args))
            except RefusedError as error:
                raise RefusedError(error.code, f"slots {rows[0].slot} to {rows[-1].slot}: {error.message}") from error
        return done

    statuses = ask(nodes, send)
    changed = sum(status.result for status in statuses if isinstance(status.result, int))
    if as_json:
        return print_json({"changed": changed, "heights": [status.height for status in statuses]})
    click.echo(f"{count(changed, 'slot')} changed")


async def _settle(
    account: Account, method: str, args: dict[str, Any], places: Sequence[tuple[str, str, int]]
) -> list[Refused]:
    """Send the rows of one transaction; those that were refused. Raises RefusedError if it is refused for itself."""
    status = await account.outcome("settlement", method, args)
    if status.code == "ok":
        return [Refused(*places[index], code) for index, code in _listed(status.result)]
    if status.code in ROW_CODES and len(status.details) == len(places) and max(status.details) < len(ROW_CODES):
        return [Refused(*place, ROW_CODES[found]) for place, found in zip(places, status.details, strict=True)]
    raise RefusedError(status.code, explain(f"settlement.{method}", status.code, status.details, 0))


def _listed(result: Value) -> list[tuple[int, str]]:
    rows = []
    for row in as_rows(result):
        match row:
            case (int(index), str(code)):
                rows.append((index, code))
            case _:
                raise RefusedError("bad-answer", "the receipt lists no rows: another version?")
    return rows


def _told(brought: Brought, as_json: bool, call: str) -> None:
    """Print what became of the rows; exit status 1 if one was refused that is not known already."""
    taken, refused, slot_seconds = brought
    if as_json:
        print_json({"taken": taken, "refused": [row._asdict() for row in refused]})
    else:
        click.echo(f"{count(taken, 'reading')} taken, {len(refused)} refused")
        if refused:
            print_table(
                "Refused",
                ("Where", "Device", TITLE, "Code", "Why"),
                [
                    (
                        row.place,
                        row.device,
                        slot_shown(row.slot, slot_seconds),
                        row.code,
                        explain(call, row.code, (), 0),
                    )
                    for row in refused
                ],
            )
    if any(row.code != "duplicate" for row in refused):
        raise click.exceptions.Exit(EXIT_REFUSED)
