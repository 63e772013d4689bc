"""What a broker did and why, slot by slot, read from its journal."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from broker.journal import Entry, entries
from broker.site_file import SiteFile
from cli.output import count, plain, print_json
from cli.slots import Slot
from cli.units import clock
from node.errors import RefusedError

MOST_WHYS = 2
"""Reasons of one line."""
SLOT_KINDS = {"fill": "fills", "read": "readings", "drove": "drives", "price": "prices", "sent": "sent"}


def explain_sites(file: SiteFile, slot: Slot | None, last: int, as_json: bool) -> None:
    """Print what is known of a slot, or of the ``last`` ones. Raises RefusedError("no-journal", "unknown-slot")."""
    directory = file.path(file.journal)
    told = stories(entries(directory))
    if not told:
        raise RefusedError("no-journal", f"{directory} tells of no decision yet")
    seconds = next(iter(told.values()))["slot_seconds"]
    if slot is not None:
        number = slot.at(seconds)
        if number not in told:
            raise RefusedError("unknown-slot", f"the journal tells of slots {min(told)} to {max(told)} only")
        wanted = [number]
    else:
        wanted = sorted(told)[-last:]
    if as_json:
        return print_json([told[number] for number in wanted])
    for number in wanted:
        click.echo("\n".join(plain(line) for line in lines_of(file.network, told[number])))


def stories(journal: Iterable[Entry]) -> dict[int, dict[str, Any]]:
    """By slot all that the journal tells: ``decisions``, ``fills``, ``readings``, ``prices``, ``drives``, ``refused``,
    ``settled`` (None until it is) and what was ``said`` while it was decided about."""
    told: dict[int, dict[str, Any]] = {}
    seconds = 0
    concerns: dict[str, str] = {}
    running: set[int] = set()

    def story(slot: int) -> dict[str, Any]:
        fresh = {"slot": slot, "slot_seconds": seconds, "decisions": [], "settled": None, "refused": [], "said": []}
        return told.setdefault(slot, {**fresh, **{name: [] for name in SLOT_KINDS.values()}})

    for entry in journal:
        kind = entry["kind"]
        if kind == "started":
            seconds = entry["slot_seconds"]
        elif not seconds:
            continue
        elif kind == "decision":
            running = {each["slot"] for each in entry["slots"]}
            for each in entry["slots"]:
                own = story(each["slot"])
                own["decisions"].append({"time": entry["time"], **_stores(entry, each["slot"]), **each})
                own["said"] = sorted({*own["said"], *concerns.values()})
        elif kind == "said":
            if entry["words"]:
                concerns[entry["concern"]] = entry["words"]
                for slot in running:
                    story(slot)["said"] = sorted({*story(slot)["said"], entry["words"]})
            else:
                concerns.pop(entry["concern"], None)
        elif kind == "refused":
            for slot in running:
                story(slot)["refused"].append(dict(entry))
        elif kind == "settled":
            story(entry["slot"])["settled"] = dict(entry)
        elif kind in SLOT_KINDS:
            story(entry["slot"])[SLOT_KINDS[kind]].append(dict(entry))
    return {slot: each for slot, each in sorted(told.items()) if each["decisions"]}


def _stores(entry: Entry, slot: int) -> dict[str, Any]:
    """What the plan had battery and vehicle do in the slot."""
    index = slot - entry["first"]
    found = {}
    for name in ("battery", "vehicle"):
        part = entry.get(name)
        if part is not None and index < len(part["wh"]):
            found[name] = {"level": part["level"], "wh": part["wh"][index], "value": part["value"][index]}
            found[name]["away"] = bool(part.get("away") and part["away"][index])
    return found


def lines_of(network: str, story: Mapping[str, Any]) -> Iterator[str]:
    """A slot's story in words."""
    start = story["slot"] * story["slot_seconds"]
    yield f"{network}, slot {story['slot']} of {clock(start)}"
    last = story["decisions"][-1]
    yield f"  forecast  load {_three(last['load'])}, sun {_three(last['sun'])}, net {_three(last['net'])} Wh"
    yield (
        f"  prices    utility {_price(last['retail'])} / {_price(last['feed_in'])} a kWh, "
        f"expected at {last['bus']} {_price(last['expected'])}{_cleared(story)}"
    )
    for name in ("battery", "vehicle"):
        if name in last:
            yield f"  {name:<9} {_store(last[name])}"
    for words in story["said"]:
        yield f"  note      {words}"
    for decision in story["decisions"]:
        yield from _decided(decision)
    for (device, code), number in Counter((each["device"], each["code"]) for each in story["refused"]).items():
        yield f"  refused   {device}: {code}{f' ({number} times)' if number > 1 else ''}"
    for fill in story["fills"]:
        verb = "bought" if fill["side"] == "buy" else "sold"
        yield f"  matched   {fill['device']} {verb} {fill['energy_wh']} Wh at {_price(fill['price'])}"
    for reading in story["readings"]:
        how = "" if reading["measured"] else ", estimated"
        yield f"  metered   {reading['device']} took {reading['import_wh']} and gave {reading['export_wh']} Wh{how}"
    if (settled := story["settled"]) is not None:
        cost, alone = settled["cost"], settled["utility_only"]
        verb = "less" if cost <= alone else "more"
        yield (
            f"  settled   {_tokens(cost)} tokens; the utility alone would have cost {_tokens(alone)}: "
            f"{_tokens(abs(alone - cost))} {verb}"
        )
        yield (
            f"            {settled['bought_wh']} Wh bought and {settled['sold_wh']} sold by contract, "
            f"{settled['retail_wh']} at retail, {settled['feed_in_wh']} at the feed-in tariff"
        )
    else:
        yield "  settled   not yet"


def _decided(decision: Mapping[str, Any]) -> Iterator[str]:
    """A decision's actions, those of one kind, device and side in one line."""
    head = f"  {clock(decision['time'])[11:]:<9} "
    groups: dict[tuple[str, ...], list[list[Any]]] = {}
    for kind, device, *rest in decision["actions"]:
        groups.setdefault((kind, device, *(rest[:1] if kind != "cancel" else ())), []).append(rest)
    if not groups:
        yield head + ("what is open is still wanted" if decision["wishes"] else "nothing is worth an order")
    for (kind, device, *side), rows in groups.items():
        if kind == "cancel":
            yield f"{head}takes back {count(len(rows), 'order')} of {device}: {rows[0][0]}"
            continue
        energy, prices = sum(row[1] for row in rows), [row[2] for row in rows]
        low, high = min(prices), max(prices)
        price = _price(low) if low == high else f"{_price(low)} to {_price(high)}"
        verb = "orders" if kind == "place" else "orders instead"
        several = f" in {len(rows)} orders" if len(rows) > 1 else ""
        whys = "; ".join(dict.fromkeys(str(row[3]) for row in rows[:MOST_WHYS]))
        more = "; ..." if len(rows) > MOST_WHYS else ""
        yield f"{head}{verb} to {side[0]} {energy} Wh for {device}{several} at {price}: {whys}{more}"


def _cleared(story: Mapping[str, Any]) -> str:
    if not story["prices"]:
        return ""
    last = story["prices"][-1]
    return f", cleared at {_price(last['price'])}" if last["wh"] else ", nothing was traded"


def _store(part: Mapping[str, Any]) -> str:
    wh = part["wh"]
    if part["away"]:
        return f"is away, not plugged in, with {part['level']} Wh by what is known"
    what = "does nothing" if wh == 0 else f"takes {wh} Wh" if wh > 0 else f"gives {-wh} Wh"
    return f"holds {part['level']} Wh, {what}; another kWh in it is worth {_price(part['value'])}"


def _three(figures: tuple[int, int, int]) -> str:
    low, middle, high = figures
    return f"{middle} ({low} to {high})"


def _price(base_units: int) -> str:
    """Base units per Wh as tokens per kWh."""
    return f"{base_units / 1_000_000:.3f}"


def _tokens(base_units: int) -> str:
    return f"{base_units / 1_000_000_000:.4f}"
