"""Reads the source of contracts and refuses what could make two nodes compute different things.

A registered contract's module is read together with every chaincode module that it imports. What is refused, and
why, stands in ``checker_rules.py``; here are the imports, and recursion, whose depth limit differs between machines.
The checker is a fence for honest authors, not a sandbox: contracts are reviewed, and every member runs the same.
"""

import ast
import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import NamedTuple

from chaincode.checker_rules import Finding, children, findings

RUNTIME = frozenset({"chaincode.registry", "chaincode.checker", "chaincode.checker_rules"})
"""The modules that run contracts; they are not contracts."""

BUNDLES = "chaincode.upgrade_"
"""What the packages of upgrades are called, before their digests; see ``check_bundle``."""


def _public(module: str, *without: str) -> frozenset[str]:
    """What a module offers, and not the modules that it uses itself."""
    own = vars(importlib.import_module(module)).items()
    return frozenset([name for name, value in own if not isinstance(value, ModuleType)]) - frozenset(without)


ALLOWED_IMPORTS: dict[str, frozenset[str]] = {
    "__future__": _public("__future__"),
    "bisect": _public("bisect"),
    "collections": frozenset({"Counter", "OrderedDict", "defaultdict", "deque"}),
    "collections.abc": _public("collections.abc"),
    "dataclasses": _public("dataclasses", "make_dataclass"),
    "enum": _public("enum"),
    "functools": frozenset({"cmp_to_key", "lru_cache", "reduce"}),
    "hashlib": frozenset({"sha256"}),
    "heapq": _public("heapq"),
    "itertools": _public("itertools"),
    "operator": frozenset({"attrgetter", "itemgetter"}),
    "typing": _public("typing", "ForwardRef", "get_type_hints"),
}
"""Module to the names that may be taken from it."""


class CheckError(Exception):
    """A contract's source is refused; the message names file, line and reason."""


class _Function(NamedTuple):
    path: str
    line: int
    calls: tuple[str, ...]
    """The qualified names of what it calls, as far as names tell."""


class _Module(NamedTuple):
    """What is kept of a module that was read: its tree would take most of a megabyte."""

    uses: tuple[str, ...]
    """The chaincode modules that it imports."""
    functions: dict[str, _Function]
    """By qualified name."""


_checked: dict[str, _Module] = {}
_passed: set[str] = set()
"""The modules that were checked together with all that they import."""


def check_modules(names: Sequence[str]) -> None:
    """Check the modules ``names`` and all chaincode modules that they import. Raises CheckError.

    Of a module outside of ``chaincode`` its classes that are contracts are checked, and not its imports.
    """
    if not __debug__:
        raise CheckError("python -O takes the assertions out of contracts; run without it")
    waiting = list(dict.fromkeys(names))
    reached: dict[str, _Module] = {}
    while waiting:
        name = waiting.pop()
        if name in RUNTIME or name in reached or name in _passed:
            continue
        if name not in _checked:
            _checked[name] = check_source(name, *_source(name))
        reached[name] = _checked[name]
        waiting.extend(_checked[name].uses)
    # What has passed uses only what has passed with it, so no circle leads from there to here and back.
    _refuse_recursion(reached)
    _passed.update(reached)


def passed() -> frozenset[str]:
    """The program's own modules that were checked, with all that they import, and passed."""
    return frozenset(name for name in _passed if name.startswith("chaincode.") and not name.startswith(BUNDLES))


def take_as_passed(names: Iterable[str]) -> None:
    """Do not check these again: ``passed`` gave them where the same rules had read the same sources."""
    _passed.update(names)


def check_bundle(sources: Mapping[str, tuple[str, str]]) -> None:
    """Check the modules of an upgrade, before any of them is run: name to (path, text). They may import one another
    (``from . import rates``), and of ``chaincode`` what contracts may. Raises CheckError.
    """
    try:
        for name, (path, text) in sources.items():
            _checked[name] = check_source(name, path, text)
            for use in _checked[name].uses:
                if use.startswith(BUNDLES) and use not in sources:
                    raise CheckError(f"{path}: imports {use.rpartition('.')[2]}, which is not there")
        check_modules(list(sources))
    except CheckError:
        _forget(sources)
        raise
    except (ImportError, SyntaxError, ValueError, RecursionError) as error:
        _forget(sources)
        raise CheckError(f"it cannot be read: {error}") from error


def _forget(names: Iterable[str]) -> None:
    for name in names:
        _checked.pop(name, None)
        _passed.discard(name)


def check_source(name: str, path: str, source: str) -> _Module:
    """Check one module by itself: its imports, its statements and expressions. Raises CheckError."""
    tree = ast.parse(source, path)
    if not name.startswith("chaincode."):
        tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef) and _is_contract(node)]
    uses: list[str] = []
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _check_import(path, node, alias.name, None)
                names[alias.asname or alias.name] = alias.name
                uses.append(alias.name)
        elif isinstance(node, ast.ImportFrom):
            package = name.rpartition(".")[0] if name.startswith(BUNDLES) else ""
            module = _absolute(path, package, node)
            for alias in node.names:
                _check_import(path, node, module, alias.name)
                names[alias.asname or alias.name] = f"{module}.{alias.name}"
                uses.append(f"{module}.{alias.name}" if module in ("chaincode", package) else module)
    for finding in findings(tree, names, ALLOWED_IMPORTS):
        raise _refusal(path, finding)
    functions = {
        qualified: _Function(path, node.lineno, tuple(_calls(name, names, qualified, own, local)))
        for qualified, node, own, local in _functions(name, tree)
    }
    return _Module(tuple(use for use in uses if use.startswith("chaincode.")), functions)


def _absolute(path: str, package: str, node: ast.ImportFrom) -> str:
    """The module that is imported from; within an upgrade's ``package`` its own may be named relatively."""
    module = node.module or ""
    if node.level == 1 and package:
        return f"{package}.{module}" if module else package
    if node.level:
        raise _refusal(path, Finding(node.lineno, "a relative import"))
    return module


def _refusal(path: str, finding: Finding) -> CheckError:
    return CheckError(f"{path}:{finding.line}: {finding.reason}")


def _source(name: str) -> tuple[str, str]:
    module = importlib.import_module(name)
    try:
        return inspect.getsourcefile(module) or name, inspect.getsource(module)
    except (OSError, TypeError) as error:
        raise CheckError(f"{name}: its source cannot be read: {error}") from error


def _is_contract(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Contract" for base in node.bases)


def _check_import(path: str, node: ast.stmt, module: str, name: str | None) -> None:
    if f"{module}.{name}".startswith(BUNDLES) and not (isinstance(node, ast.ImportFrom) and node.level):
        raise _refusal(path, Finding(node.lineno, "imports an upgrade, which need not be there"))
    if module == "chaincode" or module.startswith("chaincode."):
        if module in RUNTIME or f"{module}.{name}" in RUNTIME:
            raise _refusal(path, Finding(node.lineno, f"imports {module}, which runs contracts"))
        if name == "*":
            raise _refusal(path, Finding(node.lineno, "imports everything from a module"))
        if name is None:
            raise _refusal(path, Finding(node.lineno, f"imports {module} with all that is beside it: from it, a name"))
        return
    if name == "*":
        raise _refusal(path, Finding(node.lineno, "imports everything from a module"))
    allowed = ALLOWED_IMPORTS.get(module, frozenset())
    if name not in allowed if name is not None else not allowed:
        what = module if name is None else f"{name} from {module}"
        raise _refusal(path, Finding(node.lineno, f"imports {what}, which is not on the list of what is deterministic"))


def _refuse_recursion(modules: dict[str, _Module]) -> None:
    """Refuse a function that can call itself, by a chain of calls through names, modules and ``self``."""
    functions = {name: function for module in modules.values() for name, function in module.functions.items()}
    done: set[str] = set()
    for start in functions:
        _follow(start, functions, done, [])


def _follow(name: str, functions: dict[str, _Function], done: set[str], path: list[str]) -> None:
    if name in path:
        function = functions[name]
        circle = " -> ".join(called.removeprefix("chaincode.") for called in (*path[path.index(name) :], name))
        raise _refusal(function.path, Finding(function.line, f"recursion: {circle}"))
    if name in done or name not in functions:
        return
    path.append(name)
    for called in functions[name].calls:
        _follow(called, functions, done, path)
    path.pop()
    done.add(name)


def _functions(
    module: str, tree: ast.Module
) -> Iterator[tuple[str, ast.FunctionDef, list[tuple[str, ast.AST]], dict[str, str]]]:
    """Every function of a module, outer ones first: its qualified name (module.function, module.Class.method, or
    nested), itself, what stands in it, and what the names of functions nested in it and around it mean.
    """
    waiting: list[tuple[str, ast.AST, dict[str, str]]] = [(module, tree, {})]
    while waiting:
        name, scope, around = waiting.pop()
        own = list(_walk_own(name, scope))
        inner = [(prefix, node) for prefix, node in own if isinstance(node, ast.FunctionDef)]
        local = around
        if isinstance(scope, ast.FunctionDef):
            local = {**around, **{node.name: f"{name}.{node.name}" for _, node in inner}}
            yield name, scope, own, local
        waiting.extend((f"{prefix}.{node.name}", node, local) for prefix, node in inner)


def _calls(
    module: str, names: Mapping[str, str], qualified: str, own: list[tuple[str, ast.AST]], local: dict[str, str]
) -> Iterator[str]:
    """The qualified names of what a function calls, as far as names tell; a nested function's calls are its own."""
    for _, node in own:
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name):
            yield local.get(called.id) or names.get(called.id, f"{module}.{called.id}")
        elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            if called.value.id in ("self", "cls"):
                yield f"{qualified.rpartition('.')[0]}.{called.attr}"
            elif called.value.id in names:
                yield f"{names[called.value.id]}.{called.attr}"


def _walk_own(prefix: str, scope: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The functions and calls in ``scope``, the last first, without what stands in functions defined there.
    With each: the qualified name of the class, function or module that it stands in."""
    waiting = [(prefix, child) for child in children(scope)]
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.Call):
            yield place, node
        if isinstance(node, ast.ClassDef):
            place = f"{place}.{node.name}"
        if not isinstance(node, ast.FunctionDef):
            waiting.extend([(place, child) for child in children(node)])
