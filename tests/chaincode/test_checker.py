"""The source checker: one refusal per rule, and all that the house itself runs passes."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import chaincode
from chaincode.checker import RUNTIME, CheckError, check_modules, check_source

HEAD = "from chaincode.contract import Context, Contract, transaction\n"

# What is refused: a snippet and what the refusal says. The offending line is marked with "# here".
REFUSED = {
    "import": ("import time  # here", "imports time"),
    "what a module uses itself": ("from dataclasses import sys  # here", "imports sys from dataclasses"),
    "what a module uses itself, by attribute": ("import typing\nx = typing.sys  # here", "typing.sys"),
    "import with all beside it": ("import chaincode.roles  # here", "beside it"),
    "another's name": ("from chaincode import roles\nroles.MAX_ID = 5  # here", "changes roles"),
    "another's name, in a loop": (
        "from chaincode import roles\nfor roles.X in (1,):  # here\n    pass",
        "changes roles",
    ),
    "another's table": ("from chaincode import roles\nroles.RIGHTS['issue'] = ()  # here", "changes roles"),
    "another's table, less": ("from chaincode import roles\ndel roles.RIGHTS['issue']  # here", "changes roles"),
    "another's table, by name": ("from chaincode.roles import RIGHTS\nRIGHTS['issue'] = ()  # here", "changes RIGHTS"),
    "another's table, popped": ("from chaincode import roles\nx = roles.RIGHTS.pop('issue')  # here", "changes roles"),
    "another's table, joined": ("from chaincode.roles import RIGHTS\nRIGHTS |= {'a': 1}  # here", "changes RIGHTS"),
    "another's table, through its type": (
        "from chaincode.roles import RIGHTS\ndict.update(RIGHTS, a=1)  # here",
        "changes RIGHTS",
    ),
    "another's table, in a class": ("from chaincode import roles\nclass A:\n    roles.X = 1  # here", "changes roles"),
    "computed attribute": ("from operator import attrgetter\nx = attrgetter('__class__')  # here", "attrgetter"),
    "computed attribute, deeper": ("from operator import attrgetter\nx = attrgetter('a._b')  # here", "attrgetter"),
    "matched attribute": (
        "def f(x):\n    match x:\n        case object(__class__=c):  # here\n            pass",
        "private",
    ),
    "Python's own name": ("x = __loader__  # here", "uses __loader__"),
    "state within a constant": ("X = ({},)\ndef f(a):\n    X[0][a] = 1  # here", "changes X"),
    "list within a constant": ("X = ([],)\ndef f(a):\n    X[0].append(a)  # here", "changes X"),
    "counter of a module": ("import itertools\nX = itertools.count()  # here", "used up"),
    "iterator of a module": ("X = iter((1, 2))  # here", "used up"),
    "generator of a module": ("X = (x for x in (1, 2))  # here", "used up"),
    "mutable value by attribute": ("import collections\nX = collections.deque()  # here", "not marked Final"),
    "mutable default of a lambda": ("x = sorted((), key=lambda a, b={}: b)  # here", "mutable default"),
    "frame of a generator": ("x = (y for y in ()).gi_frame.f_builtins  # here", "uses f_builtins"),
    "frame in a match": (
        "def f(x):\n    match x:\n        case object(gi_frame=y):  # here\n            pass",
        "private",
    ),
    "lambda with a name": ("f = lambda n: f(n - 1)  # here", "lambda"),
    "pow of two": ("x = pow(2, -1)  # here", "power"),
    "set sorted by key": ("def f(a, k):\n    return sorted(set(a), key=k)  # here", "goes through a set"),
    "set taken apart": ("def f(a):\n    b, c = set(a)  # here", "goes through a set"),
    "set yielded": ("def f(a):\n    yield from set(a)  # here", "goes through a set"),
    "from import": ("from os import path  # here", "imports path from os"),
    "import of random": ("from random import random  # here", "imports random from random"),
    "import of networkx": ("import networkx as nx  # here", "imports networkx"),
    "import of a name not listed": ("from functools import cache  # here", "imports cache from functools"),
    "import of the runtime": ("from chaincode.registry import Registry  # here", "runs contracts"),
    "import of everything": ("from typing import *  # here", "everything"),
    "relative import": ("from . import accounts  # here", "relative"),
    "module attribute": ("import hashlib\nhashlib.md5(b'')  # here", "hashlib.md5"),
    "float literal": ("x = 0.5  # here", "a float"),
    "complex literal": ("x = 1j  # here", "a float"),
    "true division": ("def f(a):\n    return a / 2  # here", "true division"),
    "true division in place": ("def f(a):\n    a /= 2  # here", "true division"),
    "unknown power": ("def f(a):\n    return 10**a  # here", "power"),
    "negative power": ("x = 10**-2  # here", "power"),
    "float()": ("x = float(3)  # here", "uses float"),
    "open": ("def f():\n    return open('x')  # here", "uses open"),
    "print": ("def f():\n    print(1)  # here", "uses print"),
    "input": ("def f():\n    return input()  # here", "uses input"),
    "eval": ("x = eval('1')  # here", "uses eval"),
    "exec": ("exec('1')  # here", "uses exec"),
    "getattr": ("def f(a):\n    return getattr(a, 'b')  # here", "uses getattr"),
    "id": ("def f(a):\n    return sorted(a, key=id)  # here", "uses id"),
    "hash": ("def f(a):\n    return hash(a)  # here", "uses hash"),
    "dunder": ("def f(a):\n    return a.__class__  # here", "uses __class__"),
    "private attribute": ("def f(ctx):\n    ctx._steps_left = 9  # here", "private attribute _steps_left"),
    "for over a set": ("def f():\n    for x in {1, 2}:  # here\n        pass", "goes through a set"),
    "for over a named set": ("def f(a):\n    b = set(a)\n    for x in b:  # here\n        pass", "goes through a set"),
    "for over an argument": ("def f(a: set[int]):\n    for x in a:  # here\n        pass", "goes through a set"),
    "list of a set": ("def f(a):\n    return list(set(a))  # here", "goes through a set"),
    "tuple of a set": ("def f(a):\n    return tuple({x for x in a})  # here", "goes through a set"),
    "comprehension over a set": ("def f(a):\n    return [x for x in set(a)]  # here", "goes through a set"),
    "unpacked set": ("def f(a):\n    return (*set(a),)  # here", "goes through a set"),
    "difference of keys": ("def f(a, b):\n    for x in a.keys() - b:  # here\n        pass", "goes through a set"),
    "union of sets": ("def f(a, b):\n    return list(set(a).union(b))  # here", "goes through a set"),
    "pop of a set": ("def f(a):\n    b = set(a)\n    return b.pop()  # here", "goes through a set"),
    "min of a set by key": ("def f(a, k):\n    return min(set(a), key=k)  # here", "goes through a set"),
    "joined set": ("def f(a):\n    return b''.join(set(a))  # here", "goes through a set"),
    "dict from a set": ("def f(a):\n    return dict.fromkeys(set(a))  # here", "goes through a set"),
    "async": ("async def f():  # here\n    pass", "async"),
    "global": ("x = 0\ndef f():\n    global x  # here\n    x = 1", "global"),
    "nonlocal": ("def f():\n    x = 0\n    def g():\n        nonlocal x  # here\n        x = 1", "nonlocal"),
    "bare except": ("try:\n    pass\nexcept:  # here\n    pass", "catches every exception"),
    "except Exception": ("try:\n    pass\nexcept Exception:  # here\n    pass", "catches every exception"),
    "except among others": ("try:\n    pass\nexcept (KeyError, BaseException):  # here\n    pass", "catches every"),
    "no memory": ("try:\n    pass\nexcept MemoryError:  # here\n    pass", "catches MemoryError"),
    "no stack": ("try:\n    pass\nexcept (KeyError, RecursionError):  # here\n    pass", "catches RecursionError"),
    "no stack, in general": ("try:\n    pass\nexcept RuntimeError:  # here\n    pass", "catches RuntimeError"),
    "end of an object": ("class A:\n    def __del__(self):  # here\n        pass", "__del__"),
    "exception groups": ("try:  # here\n    pass\nexcept* KeyError:\n    pass", "exception groups"),
    "mutable class attribute": ("class A:\n    seen = []  # here", "mutable attribute of a class"),
    "mutable class annotation": ("class A:\n    seen: dict[int, int] = {}  # here", "mutable attribute of a class"),
    "mutable module value": ("seen = {}  # here", "mutable value of a module"),
    "changed table": ("from typing import Final\nT: Final = {}\ndef f():\n    T[1] = 2  # here", "changes T"),
    "table changed by a method": (
        "from typing import Final\nT: Final = []\ndef f():\n    T.append(2)  # here",
        "changes T",
    ),
    "attribute of a function": ("def f():\n    f.calls = 1  # here", "changes f"),
    "mutable default": ("def f(a=[]):  # here\n    pass", "mutable default"),
    "contract with an attribute": (
        HEAD + "class A(Contract):\n    def f(self, ctx):\n        self.x = 1  # here",
        "an attribute of its own",
    ),
    "remembered context": (
        "import functools\n@functools.lru_cache\ndef f(ctx):  # here\n    pass",
        "remembers results",
    ),
}

RECURSIVE = {
    "direct": "def f(n):\n    return f(n - 1)",
    "mutual": "def f(n):\n    return g(n)\ndef g(n):\n    return f(n)",
    "method": "class A:\n    def f(self):\n        return self.f()",
    "methods": "class A:\n    def f(self):\n        return self.g()\n    def g(self):\n        self.f()",
    "nested": "def f(n):\n    def g(m):\n        return g(m - 1)\n    return g(n)",
    "through a nested one": "def f(n):\n    def g(m):\n        return f(m)\n    return g(n)",
}

ACCEPTED = """
    from collections.abc import Iterable
    from dataclasses import dataclass, field
    from functools import lru_cache
    from hashlib import sha256
    from typing import Final

    from chaincode.contract import Context, Contract, Value, transaction

    RIGHTS: Final = {"owner": ("share",)}
    MAX: Final = 10**9

    @dataclass
    class Walk:
        seen: set[int] = field(default_factory=set)

        def _step(self) -> None:
            self.seen.add(len(self.seen))

    @lru_cache(maxsize=4)
    def square(n: int) -> int:
        return n**2 // 3

    def supply(items: Iterable[int]) -> int:
        known = set(items)
        more = {item + 1 for item in known}
        found = [item for item in sorted(known | more) if item in more]
        return sum(known) + len(more) + max(more, default=0) + sum(found) + sum(x for x in known)

    class Sample(Contract):
        name = "sample"

        @transaction
        def supply(self, ctx: Context, *, n: int) -> Value:
            try:
                return supply((n, n)) + len(sha256(b"").digest())
            except (KeyError, ValueError):
                return None
"""


def load(tmp_path: Path, source: str) -> None:
    check_source("chaincode.sample", str(tmp_path / "sample.py"), dedent(source))


@pytest.mark.parametrize("rule", REFUSED)
def test_refuses(rule: str, tmp_path: Path) -> None:
    source, reason = REFUSED[rule]
    line = next(number for number, text in enumerate(source.splitlines(), 1) if text.endswith("# here"))
    with pytest.raises(CheckError) as refusal:
        load(tmp_path, source)
    assert str(refusal.value).startswith(f"{tmp_path / 'sample.py'}:{line}: ")
    assert reason in str(refusal.value)


@pytest.mark.parametrize("kind", RECURSIVE)
def test_refuses_recursion(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"sample_{kind.replace(' ', '_')}.py").write_text(RECURSIVE[kind])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(chaincode, "__path__", [*chaincode.__path__, str(tmp_path)])
    with pytest.raises(CheckError, match=r"\.py:\d+: recursion: sample_"):
        check_modules([f"chaincode.sample_{kind.replace(' ', '_')}"])


def test_accepts_what_is_deterministic(tmp_path: Path) -> None:
    load(tmp_path, ACCEPTED)


def test_the_house_passes() -> None:
    files = Path(chaincode.__file__).parent.glob("*.py")
    names = [f"chaincode.{file.stem}" for file in files if file.stem != "__init__"]
    check_modules([name for name in names if name not in RUNTIME])


def test_refuses_to_run_without_assertions() -> None:
    program = "from chaincode.registry import default_registry; default_registry()"
    run = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "python -O takes the assertions out" in run.stderr
