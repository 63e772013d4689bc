"""A node's log: text and JSON from one call, levels at run time, nothing that breaks a line."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import RefusedError
from node.logs import JSON, TEXT, set_level, start_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logger = logging.getLogger("watt.trial")
    try:
        yield logger
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logger.setLevel(logging.NOTSET)


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_an_entry_is_one_line_of_text(log: logging.Logger, tmp_path: Path) -> None:
    start_log(tmp_path / "log", form=TEXT)
    log.info("link-up peer=%s", "a\nb")
    (line,) = lines(tmp_path / "log")
    assert line.endswith("Z INFO watt.trial link-up peer=a\\nb")


def test_the_same_entry_as_json_has_its_event_and_details_apart(log: logging.Logger, tmp_path: Path) -> None:
    start_log(tmp_path / "log", form=JSON)
    log.info("executed tx=%s height=%d code=%s: %d ms", "ab" * 32, 7, "ok", 12)
    log.warning("A sentence about %s", "somebody")
    try:
        raise ValueError("broken\nline")
    except ValueError:
        log.exception("internal tx=%s", "cd")
    entries = [json.loads(line) for line in lines(tmp_path / "log")]
    assert len(entries) == 3
    assert entries[0]["event"] == "executed" and entries[0]["level"] == "info" and entries[0]["room"] == "watt.trial"
    assert entries[0]["fields"] == {"tx": "ab" * 32, "height": 7, "code": "ok"}
    assert entries[0]["message"].endswith("code=ok: 12 ms")
    assert "event" not in entries[1]
    assert entries[2]["fields"] == {"tx": "cd"} and "broken\nline" in entries[2]["error"]


def test_levels_change_at_run_time_for_one_room_or_all(log: logging.Logger, tmp_path: Path) -> None:
    start_log(tmp_path / "log")
    log.debug("unseen")
    assert set_level("watt.trial", "debug")["watt.trial"] == "debug"
    log.debug("seen")
    logging.getLogger("watt.other").debug("unseen")
    assert set_level("", "error")[""] == "error"
    logging.getLogger("watt.other").info("unseen")
    assert [line.rsplit(" ", 1)[1] for line in lines(tmp_path / "log")] == ["seen"]


@pytest.mark.parametrize(("room", "level"), [("", "loud"), ("watt.nowhere", "info"), ("urllib3", "debug")])
def test_unknown_levels_and_rooms_are_refused(log: logging.Logger, room: str, level: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        set_level(room, level)
    assert refusal.value.code == "bad-level"
