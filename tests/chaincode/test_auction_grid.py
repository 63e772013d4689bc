"""The radial tree: how it is indexed, and what is no tree."""

import pytest

from chaincode.tree import GridError, Line, Tree


def refusal(root: str, *lines: Line) -> tuple[str, str]:
    with pytest.raises(GridError) as refused:
        Tree.build(root, lines)
    return refused.value.code, refused.value.message


def test_breadth_first_by_name_whatever_the_order() -> None:
    lines = [Line("b", "d", 3, 7, None), Line("root", "c", 2), Line("root", "b", 1, None, 0), Line("c", "a", 4)]
    tree = Tree.build("root", lines)
    assert tree.buses == ("root", "b", "c", "d", "a")
    assert tree.parent == (-1, 0, 0, 1, 2)
    assert tree.toll == (0, 1, 2, 3, 4)
    assert tree.limit_down_wh == (None, None, None, 7, None)
    assert tree.limit_up_wh == (None, 0, None, None, None)
    assert Tree.build("root", reversed(lines)) == tree
    assert tree.index_of()["a"] == 4


def test_a_root_alone_is_a_grid() -> None:
    assert Tree.build("root", []).buses == ("root",)


@pytest.mark.parametrize(
    ("lines", "code", "named"),
    [
        ([Line("r", "a", 1), Line("r", "a", 1)], "two-parents", "line r -> a"),
        ([Line("r", "a", 1), Line("a", "b", 1), Line("r", "b", 1)], "two-parents", "line r -> b"),
        ([Line("r", "a", 1), Line("a", "r", 1)], "cyclic-grid", "line a -> r"),
        ([Line("r", "z", 1), Line("a", "b", 1), Line("b", "a", 1)], "cyclic-grid", "line b -> a"),
        ([Line("a", "b", 1), Line("b", "a", 1), Line("b", "c", 1)], "cyclic-grid", "line b -> a"),
        ([Line("r", "z", 1), Line("x", "y", 1), Line("y", "a", 1)], "disconnected-grid", "line x -> y"),
        ([Line("a", "a", 1)], "self-loop", "line a -> a"),
        ([Line("r", "a", -1)], "bad-toll", "line r -> a"),
        ([Line("r", "a", 2**63)], "bad-toll", "line r -> a"),
        ([Line("r", "a", True)], "bad-toll", "line r -> a"),
        ([Line("r", "a", 1, -1)], "bad-limit", "line r -> a"),
        ([Line("r", "a", 1, None, 2**63)], "bad-limit", "line r -> a"),
        ([Line("r", "", 1)], "bad-bus", "line r -> "),
        ([Line("r" * 65, "a", 1)], "bad-bus", "line rrr"),
    ],
)
def test_what_is_no_tree(lines: list[Line], code: str, named: str) -> None:
    refused, message = refusal("r", *lines)
    assert refused == code
    assert named in message


def test_an_empty_root_name() -> None:
    assert refusal("")[0] == "bad-bus"


def test_a_chain_of_ten_thousand_needs_no_recursion() -> None:
    tree = Tree.build("0", [Line(str(bus), str(bus + 1), 1) for bus in range(10_000)])
    assert tree.parent == tuple(range(-1, 10_000))
