"""`watt node doctor`: what a node waits for, on whom, since when, and what to do about it."""

import sys
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from cli.output import EXIT_REFUSED, json_option, print_json, print_table, refusals_to_exit_codes
from cli.outside import look
from cli.session import ca_option
from node.config import Config, load_config
from node.control import Diagnose, ask
from node.diagnosis import (
    NOTE,
    STALLED,
    Finding,
    Link,
    Report,
    findings,
    megabytes,
    member_links,
    out_of_reach,
    seconds,
)
from node.errors import RefusedError
from node.postmortem import findings_on_disk, probe
from node.setup import CONFIG_NAME

LOG_NAME = "node.log"
"""What a local network calls the log beside a node's configuration."""


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=CONFIG_NAME,
    show_default=True,
    help="The node's configuration.",
)
@click.option(
    "--log",
    "log_file",
    type=click.Path(path_type=Path),
    help="Where the node's output went, if no log file is configured; else node.log beside the configuration.",
)
@click.option("--node", "gateway", metavar="HOST:PORT", help="A node elsewhere, by its gateway: that shows far less.")
@ca_option
@json_option
@refusals_to_exit_codes
def doctor(config_path: Path, log_file: Path | None, gateway: str | None, as_json: bool) -> None:
    """Say in plain words how a node is: what it waits for, on whom, since when. Run it on the node's own machine.

    A running node is asked through its socket; of one that is down, what it left on disk is looked at. Exit status 0 if
    there is nothing to do, 1 if there is.

    Example: watt node doctor --config utility/node.toml
    """
    if gateway is not None:
        info, found = look([gateway])
        above = [f"{info.member} at {gateway}: block {info.height}, view {info.view}, {info.pending} transactions wait"]
        _end(above, found, None, as_json)
    config = load_config(config_path)
    if log_file is None and not config.log_file and (config_path.parent / LOG_NAME).exists():
        log_file = config_path.parent / LOG_NAME
    report, found = examine(config, log_file)
    _end([f"{config.member} does not answer"] if report is None else _standing(report), found, report, as_json)


def _end(lines: list[str], found: list[Finding], report: Report | None, as_json: bool) -> NoReturn:
    """Show it, and end with the status that it deserves. ``lines``: where the node stands."""
    needs_care = any(finding.level != NOTE for finding in found)
    if as_json:
        print_json({"healthy": not needs_care, "findings": _plain(found), "report": _plain(report)})
    else:
        for line in lines[:-1]:
            click.echo(line)
        rows = [(finding.level, finding.code, finding.text) for finding in found] or [("well", "-", "nothing to do")]
        print_table(lines[-1], ["level", "code", "what"], rows)
    sys.exit(EXIT_REFUSED if needs_care else 0)


def examine(config: Config, log_file: Path | None) -> tuple[Report | None, list[Finding]]:
    """What a node says of itself (None if it says nothing), and what there is to say about it.

    Raises RefusedError("not-allowed") if it is another user's.
    """
    try:
        answer = ask(config.path(config.data_dir), Diagnose())
    except RefusedError as refusal:
        if refusal.code == "not-running":
            return None, findings_on_disk(config, log_file)
        if refusal.code == "no-answer":
            return None, [Finding(STALLED, refusal.code, f"{refusal.message}; is its process stopped?")]
        raise
    report = _probed(msgspec.convert(answer, Report))
    return report, findings(report)


def _probed(report: Report) -> Report:
    """The same; for links that are down, with what answers at the peer's address now."""
    links = tuple(link if link.up else msgspec.structs.replace(link, why=_why(link)) for link in report.links)
    return msgspec.structs.replace(report, links=links)


def _why(link: Link) -> str:
    return "; ".join(part for part in (link.why or "never reached", probe(link.address)) if part)


def _standing(report: Report) -> list[str]:
    """Where the node stands, in two lines."""
    newest, others = report.snapshot_height, len(member_links(report))
    snapshot = "no snapshot yet" if newest is None else f"newest snapshot of block {newest}"
    state = "works in" if report.active else "waits for"
    return [
        f"{report.member}: block {report.height}, stored {seconds(report.quiet_ms)} ago; {state} view {report.view} "
        f"(primary {report.primary}); reaches {others - len(out_of_reach(report))} of {others} others; "
        f"{report.mempool_transactions} transactions wait",
        f"epoch {report.epoch}; {snapshot}; "
        f"vote log {report.vote_log_bytes // 1024} KiB; {megabytes(report.disk_free_bytes)} of disk are free",
    ]


def _plain(value: object) -> object:
    return msgspec.to_builtins(value)
