"""What owners are told of agreements as a graph: who helps whom, circles, who depends on one, paths that are none."""

from typing import Any

from cli.agreement_graph import MAX_PATHS, dot, findings, graph_of, helpers_of, taken_by

NETWORKS = ("a", "b", "c", "d", "e")


def row(number: int, giver: str, taker: str, **different: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "kind": "share", "cap": 100, "automatic": True, "rank": 1, "state": "open", "in_force": True, "used": 0,
    }  # fmt: skip
    return {"number": number, "giver": giver, "taker": taker, **usual, **different}


def told(rows: list[dict[str, Any]], about: tuple[str, ...] = NETWORKS, **pools: int) -> list[tuple[str, ...]]:
    """(kind, networks...) of every finding."""
    held = dict.fromkeys(NETWORKS, 1000) | pools
    return [(each.kind, *each.networks) for each in findings(graph_of(rows, NETWORKS), rows, held, about)]


def test_helpers_in_the_order_of_asking() -> None:
    rows = [
        row(1, "a", "b", rank=5), row(2, "c", "b"), row(3, "d", "b"), row(4, "e", "b", automatic=False),
        row(5, "e", "b", kind="sale"), row(6, "a", "c", in_force=False),
    ]  # fmt: skip
    graph = graph_of(rows, NETWORKS)
    assert [each["giver"] for each in helpers_of(graph, "b")] == ["c", "d", "a"]
    assert [each["number"] for each in taken_by(graph, "b")] == [1, 2, 3, 4, 5]
    assert helpers_of(graph, "c") == [] and taken_by(graph, "nowhere") == []


def test_who_has_nobody_and_who_depends_on_one() -> None:
    rows = [row(1, "a", "b"), row(2, "a", "c"), row(3, "a", "d"), row(4, "e", "d"), row(5, "b", "e", automatic=False)]
    assert told(rows, about=("a", "b", "d", "e")) == [
        ("nobody-helps", "a"),
        ("many-depend", "a", "b", "c"),
        ("one-helper", "b"),
        ("nobody-helps", "e"),
    ]


def test_promises_beyond_the_pool() -> None:
    rows = [row(1, "a", "b", cap=60), row(2, "a", "c", cap=60, used=30), row(3, "a", "d", cap=500, automatic=False)]
    assert ("promised", "a") in told(rows, a=89)
    assert ("promised", "a") not in told(rows, a=90)


def test_circles_are_told_once() -> None:
    rows = [row(1, "b", "c"), row(2, "c", "a"), row(3, "a", "b"), row(4, "d", "e"), row(5, "e", "d")]
    assert [each for each in told(rows) if each[0] == "circle"] == [("circle", "a", "b", "c"), ("circle", "d", "e")]
    assert [each for each in told(rows, about=("e",)) if each[0] == "circle"] == [("circle", "d", "e")]


def test_a_path_is_named_as_no_agreement() -> None:
    rows = [row(1, "a", "b"), row(2, "b", "c"), row(3, "b", "d", automatic=False)]
    found = [each for each in findings(graph_of(rows, NETWORKS), rows, {}, NETWORKS) if each.kind == "path"]
    assert [each.networks for each in found] == [("a", "b", "c")]
    assert "no agreement" in found[0].text and "a does not help c" in found[0].text
    direct = [*rows, row(4, "a", "c")]
    assert not [each for each in told(direct) if each[0] == "path"]


def test_a_path_beside_help_by_hand_is_told_as_that() -> None:
    rows = [row(1, "a", "b"), row(2, "b", "c"), row(3, "a", "c", automatic=False), row(4, "b", "d")]
    texts = [each.text for each in findings(graph_of(rows, NETWORKS), rows, {}, NETWORKS) if each.kind == "path"]
    assert [text.rpartition(": ")[2] for text in texts] == ["a helps c by hand only", "a does not help d"]


def test_paths_are_not_listed_without_end() -> None:
    hubs = [row(number, f"n{number}", "hub") for number in range(1, MAX_PATHS + 11)]
    rows = [*hubs, row(99, "hub", "a")]
    found = [each for each in findings(graph_of(rows, ("a", "hub")), rows, {}, ("a",)) if each.kind == "path"]
    assert len(found) == MAX_PATHS + 1
    assert found[-1].text == "10 more paths that are no agreements"


def test_what_is_agreed_on_and_not_in_force() -> None:
    rows = [row(1, "a", "b", in_force=False), row(2, "a", "c", in_force=False, state="ended")]
    assert [each for each in told(rows) if each[0] == "not-in-force"] == [("not-in-force", "a", "b")]


def test_dot_shows_every_agreement_in_force() -> None:
    rows = [row(1, "a", "b"), row(2, "a", "b", kind="sale"), row(3, "b", "a", automatic=False)]
    text = dot(graph_of(rows, NETWORKS), {1: "1.000", 2: "2.000", 3: "3.000"})
    assert text.startswith("digraph agreements {") and text.endswith("}\n")
    assert text.count(" -> ") == 3 and '"e";' in text
    for style in ("solid", "bold", "dashed"):
        assert f"style={style}" in text
    assert '"a" -> "b" [label="2: sale, at most 2.000", style=bold];' in text
