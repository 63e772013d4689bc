"""What a contract's source may not contain, one rule after the other; each finding says why.

- floats and true division: their rounding is no rule of the market;
- the machine: files, printing, code made at run time, object identities and hashes, attributes by computed names;
- the order of sets, which differs from process to process: they are for membership, ``sorted``, ``len`` and sums;
- state outside of the ledger: globals, mutable module or class attributes, attributes of contracts, mutable
  defaults, remembered results of functions that see a Context, and what other modules have: an upgrade that is
  installed before its height, and changed a table of the program when it is loaded, would fork the chain;
- swallowed mistakes (``except Exception``), threads of control (async), and private attributes of others.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BANNED_NAMES = _words(
    "breakpoint compile complex delattr dir eval exec exit float getattr globals hash help id input locals memoryview "
    "open print quit setattr vars __import__ __builtins__"
)
OF_THE_MACHINE = _words("EnvironmentError IOError MemoryError OSError RecursionError RuntimeError SystemError")
"""What one machine raises and another does not: who catches it computes by how much memory, or stack, is left."""
BLIND_EXCEPTIONS = frozenset({"Exception", "BaseException"})
MUTABLE_CALLS = _words("bytearray defaultdict deque dict list set Counter OrderedDict")
MUTATORS = _words(
    "add append appendleft clear discard extend insert pop popitem popleft remove reverse setdefault sort update"
)
NAMED_TUPLE_METHODS = _words("_asdict _field_defaults _fields _make _replace")
ALLOWED_DUNDERS = _words("__init__ __name__ __post_init__")
FRAMES = _words("ag_frame cr_frame f_back f_builtins f_code f_globals f_locals gi_code gi_frame tb_frame tb_next")
"""Attributes by which a generator leads to the machine; how deep a call stands differs between machines, too."""
NAMES_WITH_UNDERSCORES = _words("__name__ __debug__")
ITERATORS = _words("enumerate filter iter map reversed zip")
"""Calls whose result is used up by whoever goes through it."""
ORDER_BLIND_CALLS = _words("all any bool frozenset len max min set sorted sum")
ORDERED_CALLS = _words("dict enumerate filter iter list map next reduce reversed tuple zip")
SET_METHODS = _words("copy difference intersection symmetric_difference union")
_BARE = frozenset({ast.Load, ast.Store, ast.Name, ast.Constant})
"""Two of three nodes: with nothing in them, or nothing but whether a name is read or written."""
_WRITERS = (ast.Subscript, ast.Attribute, ast.AugAssign, ast.Call)
_ABOUT_SETS = frozenset(
    {
        *(ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.Call),
        *(ast.For, ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.Starred, ast.YieldFrom),
    }
)
"""What gives a name to a set, and what may go through one."""
_MUTABLE_LITERALS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


class Finding(NamedTuple):
    """What is wrong, and in which line."""

    line: int
    reason: str


def findings(
    tree: ast.Module, names: Mapping[str, str], modules: Mapping[str, frozenset[str] | None]
) -> Iterator[Finding]:
    """Everything in a module that breaks a rule. ``names``: what imported names mean; ``modules``: what may be used."""
    nodes: list[ast.AST] = [tree]
    for node in nodes:
        nodes.extend(children(node))
    for node in nodes:
        for reason in _reasons(node, names, modules):
            yield Finding(getattr(node, "lineno", 0), reason)
    yield from _shared_state(tree, nodes, names)
    for scope in nodes:
        if isinstance(scope, ast.Module | ast.FunctionDef | ast.ClassDef):
            yield from _set_order(scope)


def children(node: ast.AST) -> Iterable[ast.AST]:
    """What stands right below a node, for rules to look at."""
    return () if type(node) in _BARE else ast.iter_child_nodes(node)


def _reasons(node: ast.AST, names: Mapping[str, str], modules: Mapping[str, frozenset[str] | None]) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=context):  # first: four of ten nodes are names
            if isinstance(context, ast.Load) and (name in BANNED_NAMES or _is_inner(name)):
                yield f"uses {name}"
        case ast.Constant(value=float() | complex()):
            yield "a float"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            yield "true division makes a float: use //"
        case ast.BinOp(op=ast.Pow(), right=exponent) | ast.AugAssign(op=ast.Pow(), value=exponent):
            if not (isinstance(exponent, ast.Constant) and isinstance(exponent.value, int)):
                yield "a power whose exponent may be negative is a float"
        case ast.Call(func=ast.Name(id="pow"), args=arguments) if len(arguments) < 3:
            yield "a power whose exponent may be negative is a float"
        case ast.Call(func=called, args=arguments) if _meaning(called, names) == "operator.attrgetter":
            texts = [one.value if isinstance(one, ast.Constant) else "" for one in arguments]
            if not all(isinstance(text, str) and text and not f".{text}".count("._") for text in texts):
                yield "attrgetter takes the names of attributes that are nobody's own"
        case ast.MatchClass(kwd_attrs=attributes) if any(each[:1] == "_" or each in FRAMES for each in attributes):
            yield "matches a private attribute of something else"
        case ast.Global() | ast.Nonlocal():
            yield f"{type(node).__name__.lower()}: a function changes what lies outside of it"
        case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
            yield "async: a contract has one thread of control"
        case ast.ExceptHandler(type=kind):
            caught = kind.elts if isinstance(kind, ast.Tuple) else [kind]
            if any(one is None or (isinstance(one, ast.Name) and one.id in BLIND_EXCEPTIONS) for one in caught):
                yield "catches every exception: mistakes and node faults would be swallowed"
            yield from (f"catches {one.id}" for one in caught if isinstance(one, ast.Name) and one.id in OF_THE_MACHINE)
        case ast.TryStar():
            yield "catches exception groups"
        case ast.Attribute(value=value, attr=attribute):
            yield from _attribute(value, attribute, names, modules)
        case ast.FunctionDef():
            yield from _function(node, names)
        case ast.Lambda(args=arguments):
            yield from _defaults(arguments)
        case ast.Assign(value=ast.Lambda()) | ast.AnnAssign(value=ast.Lambda()) | ast.NamedExpr(value=ast.Lambda()):
            yield "a lambda with a name could call itself: use def, of which that is seen"


def _attribute(
    value: ast.expr, attribute: str, names: Mapping[str, str], modules: Mapping[str, frozenset[str] | None]
) -> Iterator[str]:
    if attribute.startswith("__") and attribute.endswith("__"):
        if attribute not in ALLOWED_DUNDERS:
            yield f"uses {attribute}"
    elif attribute in FRAMES:
        yield f"uses {attribute}"
    elif attribute.startswith("_") and attribute not in NAMED_TUPLE_METHODS and not _is_self(value):
        yield f"uses the private attribute {attribute} of something else"
    if isinstance(value, ast.Name) and value.id in names:
        allowed = modules.get(names[value.id])
        if allowed is not None and attribute not in allowed:
            yield f"uses {names[value.id]}.{attribute}, which is not on the list of what is deterministic"


def _is_inner(name: str) -> bool:
    """Whether Python itself gives a module this name."""
    return name.startswith("__") and name.endswith("__") and name not in NAMES_WITH_UNDERSCORES


def _meaning(called: ast.expr, names: Mapping[str, str]) -> str:
    """What is called, as far as imports tell: "module.function", or its bare name."""
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in names:
        return f"{names[called.value.id]}.{called.attr}"
    return names.get(called.id, called.id) if isinstance(called, ast.Name) else ""


def _defaults(arguments: ast.arguments) -> Iterator[str]:
    if any(_is_mutable(default) for default in (*arguments.defaults, *arguments.kw_defaults)):
        yield "a mutable default is shared between calls"


def _function(node: ast.FunctionDef, names: Mapping[str, str]) -> Iterator[str]:
    yield from _defaults(node.args)
    if node.name == "__del__":
        yield "__del__: when it is called, the garbage's collector decides"
    arguments = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    if arguments & {"ctx", "self"}:
        for decorator in node.decorator_list:
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            name = call.attr if isinstance(call, ast.Attribute) else call.id if isinstance(call, ast.Name) else ""
            if "cache" in names.get(name, name).rpartition(".")[2]:
                yield "remembers results of a function that sees more than its arguments"


def _is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name | ast.Attribute) and _last_name(value.func) in MUTABLE_CALLS
    return isinstance(value, _MUTABLE_LITERALS)


def _last_name(called: ast.Name | ast.Attribute) -> str:
    return called.id if isinstance(called, ast.Name) else called.attr


def _is_used_up(value: ast.expr | None, names: Mapping[str, str]) -> bool:
    """Whether going through it changes it."""
    if isinstance(value, ast.Call):
        meaning = _meaning(value.func, names)
        return meaning in ITERATORS or meaning.startswith("itertools.")
    return isinstance(value, ast.GeneratorExp)


def _shared_state(tree: ast.Module, nodes: Sequence[ast.AST], names: Mapping[str, str]) -> Iterator[Finding]:
    """Mutable attributes of modules, classes and contracts. A module may have a Final table that nobody writes."""
    shared: set[str] = set(names)
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            shared.add(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            shared.update(target.id for target in targets if isinstance(target, ast.Name))
            constant = isinstance(statement, ast.AnnAssign) and "Final" in ast.dump(statement.annotation)
            if _is_mutable(statement.value) and not constant and "__all__" not in shared:
                yield Finding(statement.lineno, "a mutable value of a module, not marked Final")
            if _is_used_up(statement.value, names):
                yield Finding(statement.lineno, "a value of a module that is used up by going through it")
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            yield from _class_state(node)
        elif isinstance(node, _WRITERS):
            written = _written_name(node, names)
            if written in shared:
                yield Finding(getattr(node, "lineno", 0), f"changes {written}, which is shared between calls")


def _written_name(node: ast.AST, names: Mapping[str, str]) -> str | None:
    """The name of what ``node`` changes, however deep in it: an item or attribute stored or deleted, a mutating method,
    or ``|=`` to what was imported."""
    if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
        return _root(node.value)
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return node.target.id if node.target.id in names else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        of = node.func.value
        if isinstance(of, ast.Name) and of.id in MUTABLE_CALLS and node.args:
            return _root(node.args[0])  # dict.update(table, ...)
        if isinstance(of, ast.Name) and _is_module(names.get(of.id, "")):
            return None  # a function of that module, which happens to be called so
        return _root(of)
    return None


def _root(value: ast.expr) -> str | None:
    """The name that a chain of attributes and items begins with."""
    while isinstance(value, ast.Attribute | ast.Subscript):
        value = value.value
    return value.id if isinstance(value, ast.Name) else None


def _is_module(meaning: str) -> bool:
    """Whether an imported name stands for a module of contracts: ``chaincode.roles``, or one of an upgrade's own."""
    parts = meaning.split(".")
    return parts[0] == "chaincode" and len(parts) == (3 if parts[1].startswith("upgrade_") else 2)


def _class_state(node: ast.ClassDef) -> Iterator[Finding]:
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and _is_mutable(statement.value):
            yield Finding(statement.lineno, "a mutable attribute of a class")
    if any(isinstance(base, ast.Name) and base.id == "Contract" for base in node.bases):
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and not isinstance(inner.ctx, ast.Load) and _is_self(inner.value):
                yield Finding(inner.lineno, "a contract keeps an attribute of its own: state belongs to the ledger")


def _is_self(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def _set_order(scope: ast.Module | ast.FunctionDef | ast.ClassDef) -> Iterator[Finding]:
    """Uses of a set whose outcome depends on the order of its items, within one scope."""
    own = [node for node in _walk_scope(scope) if type(node) in _ABOUT_SETS]
    sets = _set_names(scope, own)

    def is_set(value: ast.expr | None) -> bool:
        return value is not None and _is_set(value, sets)

    blind = [
        argument
        for node in own
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ORDER_BLIND_CALLS
        if not _picks_by_key(node)
        for argument in node.args
    ]
    for node in own:
        line = getattr(node, "lineno", 0)
        reason = "goes through a set, whose order differs from process to process: sort it"
        match node:
            case ast.For(iter=source) if is_set(source):
                yield Finding(line, reason)
            case ast.ListComp() | ast.GeneratorExp() | ast.DictComp():
                if node not in blind and any(is_set(generator.iter) for generator in node.generators):
                    yield Finding(line, reason)
            case ast.Starred(value=source) | ast.YieldFrom(value=source) if is_set(source):
                yield Finding(line, reason)
            case ast.Assign(targets=[ast.Tuple() | ast.List()], value=source) if is_set(source):
                yield Finding(line, reason)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                if (name in ORDERED_CALLS or _picks_by_key(node)) and any(is_set(one) for one in arguments):
                    yield Finding(line, reason)
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=arguments):
                taken = name == "pop" and not arguments and is_set(value)
                if taken or (name in ("join", "fromkeys", "extend") and any(is_set(one) for one in arguments)):
                    yield Finding(line, reason)


def _picks_by_key(node: ast.Call) -> bool:
    """Whether a call is ``min``, ``max`` or ``sorted`` by a key: equals come as they are found."""
    named = isinstance(node.func, ast.Name) and node.func.id in ("min", "max", "sorted")
    return named and any(keyword.arg == "key" for keyword in node.keywords)


def _walk_scope(scope: ast.AST) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            waiting.extend(children(node))


def _set_names(scope: ast.AST, own: list[ast.AST]) -> frozenset[str]:
    """The names of a scope that hold a set: by annotation, or by what is assigned to them."""
    names: set[str] = set()
    if isinstance(scope, ast.FunctionDef):
        arguments = (*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs)
        names.update(argument.arg for argument in arguments if _is_set_type(argument.annotation))
    for _ in range(2):  # twice: a set may be made of one that is assigned further down
        for node in own:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if _is_set_type(node.annotation):
                    names.add(node.target.id)
            elif isinstance(node, ast.Assign) and _is_set(node.value, frozenset(names)):
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.NamedExpr) and _is_set(node.value, frozenset(names)):
                names.add(node.target.id)
    return frozenset(names)


def _is_set_type(annotation: ast.expr | None) -> bool:
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(base, ast.Name) and base.id in ("set", "frozenset", "Set", "AbstractSet")


def _is_set(value: ast.expr, names: frozenset[str]) -> bool:
    match value:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name(id=name):
            return name in names
        case ast.Call(func=ast.Name(id=name)):
            return name in ("set", "frozenset")
        case ast.Call(func=ast.Attribute(value=of, attr=name)):
            return name in SET_METHODS and _is_set(of, names)
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.BitXor() | ast.Sub(), right=right):
            return any(_is_set(side, names) or _is_keys(side) for side in (left, right))
        case ast.IfExp(body=body, orelse=orelse):
            return _is_set(body, names) or _is_set(orelse, names)
    return False


def _is_keys(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "keys"
