"""What a bundle may be: its form, its digest, what is refused before anything of it runs, and where it lies."""

import os
from pathlib import Path

import pytest

from chaincode import roles
from node.errors import RefusedError
from node.upgrades.bundle import MAX_BUNDLE_BYTES, MAX_FILE_BYTES, MAX_FILES, load, read_bundle
from node.upgrades.library import Library
from tests import bundles


def refused(directory: Path) -> str:
    with pytest.raises(RefusedError) as error:
        load(read_bundle(directory))
    assert error.value.code == "bad-bundle"
    return error.value.message


def test_every_byte_and_every_name_is_in_the_digest(tmp_path: Path) -> None:
    one = read_bundle(bundles.write(tmp_path / "one"))
    assert read_bundle(bundles.write(tmp_path / "two")).digest == one.digest
    others = [
        bundles.write(tmp_path / "a", limits__py=bundles.LIMITS + "\n"),
        bundles.write(tmp_path / "b", upgrade__json=bundles.MANIFEST + " "),
        bundles.write(tmp_path / "c", empty__py=" "),
    ]
    assert len({one.digest, *[read_bundle(other).digest for other in others]}) == 4
    (tmp_path / "one" / "__pycache__").mkdir()
    assert read_bundle(tmp_path / "one").digest == one.digest


def test_what_python_leaves_and_nothing_else_is_passed_over(tmp_path: Path) -> None:
    for number, name in enumerate(("notes.txt", "Upper.py", "_hidden.py", ".env", "two.words.py", "with-dash.py")):
        place = bundles.write(tmp_path / str(number))
        (place / name).write_text("")
        assert name in refused(place)


def test_paths_lead_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("KEY = 1")
    linked = bundles.write(tmp_path / "linked", limits__py="")
    (linked / "limits.py").symlink_to(tmp_path / "secret.py")
    assert "limits.py" in refused(linked) or "symbolic" in refused(linked)
    nested = bundles.write(tmp_path / "nested")
    (nested / "inner").mkdir()
    assert "inner" in refused(nested)
    (nested / "inner").rmdir()
    (nested / "inner.py").mkdir()
    assert "inner.py" in refused(nested)
    piped = bundles.write(tmp_path / "piped")
    os.mkfifo(piped / "pipe.py")
    assert "not a plain file" in refused(piped)
    assert "No such file" in refused(tmp_path / "nowhere")


def test_sizes_are_bounded(tmp_path: Path) -> None:
    assert "at most" in refused(bundles.write(tmp_path / "long", limits__py="#" * (MAX_FILE_BYTES + 1)))
    parts = {f"part{number}__py": "#" * MAX_FILE_BYTES for number in range(MAX_BUNDLE_BYTES // MAX_FILE_BYTES)}
    assert "more than" in refused(bundles.write(tmp_path / "large", **parts))
    many = {f"part{number}__py": "#" for number in range(MAX_FILES)}
    assert "files, at most" in refused(bundles.write(tmp_path / "many", **many))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"upgrade__py": ""}, "there is no upgrade.py"),
        ({"upgrade__json": ""}, "there is no upgrade.json"),
        ({"upgrade__json": "[]"}, "upgrade.json"),
        ({"upgrade__json": "{" * 10_000}, "upgrade.json"),
        ({"upgrade__json": bundles.MANIFEST.replace('"version"', '"extra": 1, "version"')}, "extra"),
        ({"upgrade__json": bundles.MANIFEST.replace("tally-2", "../etc")}, "name"),
        ({"upgrade__json": bundles.MANIFEST.replace('"tally", ', "")}, "contracts: it names"),
        ({"limits__py": "HALF = 0.5\n"}, "a float"),
        ({"limits__py": "import os\n"}, "imports os"),
        ({"limits__py": "from .. import registry\n"}, "relative import"),
        ({"limits__py": "from chaincode.registry import Registry\n"}, "runs contracts"),
        ({"limits__py": "from chaincode.upgrade_ab import x\n"}, "imports an upgrade"),
        ({"limits__py": "from chaincode import upgrade_ab\n"}, "imports an upgrade"),
        ({"limits__py": "from chaincode.nowhere import x\n"}, "nowhere"),
        ({"limits__py": "from . import nowhere\n"}, "nowhere"),
        ({"limits__py": "def require(:\n"}, "cannot be read"),
        ({"limits__py": "x = open('/tmp/there', 'w')\n"}, "uses open"),
        ({"limits__py": "def require(amount: int) -> None:\n    require(amount)\n"}, "recursion"),
        ({"upgrade__py": bundles.TALLY.replace("def migrate", "def other")}, "no migrate"),
        ({"upgrade__py": bundles.TALLY.replace("CONTRACTS =", "OTHERS =")}, "CONTRACTS"),
        ({"upgrade__py": bundles.TALLY.replace('"tally"', '"motions"')}, "it names"),
        ({"upgrade__py": bundles.TALLY + "\n1 // 0\n"}, "ZeroDivisionError"),
        (
            {
                "upgrade__py": bundles.TALLY.replace("(Tally(), Echo())", "(Tally(), Echo(), Echo())"),
                "upgrade__json": bundles.MANIFEST.replace('"echo"', '"echo", "echo"'),
            },
            "two contracts are called echo",
        ),
        ({"upgrade__py": bundles.TALLY.replace("b\"tally-seen/\",)", "b\"no table\",)")}, "no table"),
        ({"upgrade__py": bundles.TALLY.replace("*, name: str, amount: int", "name: str, amount: int")}, "keyword-only"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused(tmp_path: Path, changed: dict[str, str], why: str) -> None:
    place = bundles.write(tmp_path / "bad", **changed)
    assert why in refused(place)
    assert not Path("/tmp/there").exists()


def test_a_bundle_that_is_only_installed_changes_nothing_of_the_program(tmp_path: Path) -> None:
    """Or nodes that have it would go by other rules than those that have not, before anybody has voted."""
    before = dict(roles.RIGHTS)
    patch = "from chaincode import roles\nroles.RIGHTS['issue'] = ('device', 'owner')\n"
    place = bundles.write(tmp_path / "bad", limits__py=patch + bundles.LIMITS)
    assert "changes roles" in refused(place)
    with pytest.raises(RefusedError, match="bad-bundle"):
        Library(tmp_path / "upgrades").install(place)
    assert before == roles.RIGHTS


def test_contracts_that_decide_are_not_replaced(tmp_path: Path) -> None:
    place = bundles.write(
        tmp_path / "bad",
        upgrade__json=bundles.MANIFEST.replace('"tally"', '"motions"'),
        upgrade__py=bundles.TALLY.replace('name = "tally"', 'name = "motions"'),
    )
    assert "motions decides" in refused(place)


def test_a_library_finds_what_is_installed_and_nothing_that_was_changed(tmp_path: Path) -> None:
    library = Library(tmp_path / "data" / "upgrades")
    assert library.listed() == [] and library.find(bytes(32)) is None and library.find(b"../..") is None
    source = bundles.write(tmp_path / "source")
    made = library.install(source)
    assert library.install(source) == made, "again is as good"
    assert [(row.digest, row.fault) for row in library.listed()] == [(made.digest, "")]
    found = library.find(made.digest)
    assert found is not None and [contract.name for contract in found.contracts] == ["tally", "echo"]
    place = library.directory / made.digest.hex()
    (place / "limits.py").write_text(bundles.LIMITS.replace("100", "1000"))
    other = Library(library.directory)
    assert other.find(made.digest) is None
    assert other.copy_to(Library(tmp_path / "copy")) == () and not (tmp_path / "copy").exists()
    assert "its digest is" in other.listed()[0].fault
    other.install(source)
    assert other.find(made.digest) is not None, "a damaged one is replaced"
    assert [path.name for path in library.directory.iterdir()] == [made.digest.hex()]
    assert other.copy_to(Library(tmp_path / "copy")) == (made.digest,)
    assert Library(tmp_path / "copy").find(made.digest) is not None, "what a backup brings along"
    with pytest.raises(RefusedError, match="bad-bundle"):
        library.install(tmp_path)


def test_what_a_backup_brings_along_is_checked_and_not_run(tmp_path: Path) -> None:
    """A backup vouches for its bundles alone, and one that this program cannot use must not spoil the others."""
    source = bundles.write(tmp_path / "source", upgrade__py="1 // 0\n")
    with pytest.raises(RefusedError, match="does not load: ZeroDivisionError"):
        Library(tmp_path / "upgrades").install(source)
    digest = read_bundle(source).digest
    library = Library(tmp_path / "upgrades")
    library.take(source, digest)
    assert [path.name for path in library.directory.iterdir()] == [digest.hex()] and library.find(digest) is None
    assert library.copy_to(Library(tmp_path / "copy")) == (digest,)
    for place, asked in ((tmp_path / "copy", digest), (source, bytes(32))):
        with pytest.raises(RefusedError, match="bad-bundle"):
            library.take(place, asked)


def test_versions_of_a_module_never_meet(tmp_path: Path) -> None:
    one = load(read_bundle(bundles.write(tmp_path / "one")))
    two = load(read_bundle(bundles.write(tmp_path / "two", limits__py=bundles.LIMITS.replace("100", "7"))))
    names = {type(bundle.contracts[0]).__module__ for bundle in (one, two)}
    assert len(names) == 2 and all(name.startswith("chaincode.upgrade_") for name in names)
