"""Counts what a newcomer meets: rooms, arrows between them, lengths, types and docstrings.

Usage: python scripts/structure.py [CHECKOUT ...]

A room is a module or a package directly in `digitsum/`. An arrow leads from a room to one that it
imports, wherever the import stands. Lengths are in lines; a function's includes its signature and
its docstring. Several checkouts are shown side by side. Only the standard library is needed.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

LONG_FUNCTION, LONG_FILE = 40, 300

Function = ast.FunctionDef | ast.AsyncFunctionDef


def rooms(package: Path) -> dict[str, list[Path]]:
    """The Python files of each room, by its name."""
    found: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*.py")):
        found.setdefault(path.relative_to(package).parts[0].removesuffix(".py"), []).append(path)
    return found


def imported(path: Path, package: Path) -> set[str]:
    """Full names of what a file imports from the package."""
    inside: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            inside |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            inside |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in inside if name.split(".")[0] == package.name}


def arrows(package: Path) -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second."""
    found = set()
    names = rooms(package)
    for room, paths in names.items():
        for path in paths:
            for name in imported(path, package):
                target = name.split(".")[1] if "." in name else "__init__"
                target = target if target in names else "__init__"
                if target != room:
                    found.add((room, target))
    return found


def circles(pairs: set[tuple[str, str]]) -> int:
    """How many rooms can be reached from themselves."""
    after: dict[str, set[str]] = {}
    for room, target in pairs:
        after.setdefault(room, set()).add(target)
    reached = {room: set(targets) for room, targets in after.items()}
    for _ in reached:
        for room, targets in reached.items():
            reached[room] = targets | {far for near in targets for far in after.get(near, ())}
    return sum(room in targets for room, targets in reached.items())


def functions(path: Path) -> Iterator[Function]:
    """All functions and methods of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def length(node: Function) -> int:
    """Lines from the signature to the end."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def is_typed(node: Function) -> bool:
    """Whether every parameter but self and cls, and the result, has an annotation."""
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    given += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
    needed = [arg for arg in given if arg.arg not in ("self", "cls")]
    return node.returns is not None and all(arg.annotation for arg in needed)


def documented(path: Path) -> list[bool]:
    """For the module and each public class, function and method, whether it has a docstring."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    found = [ast.get_docstring(module) is not None]
    bodies = [module.body, *(n.body for n in module.body if isinstance(n, ast.ClassDef))]
    for body in bodies:
        for node in body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                found.append(ast.get_docstring(node) is not None)
    return found


def measure(checkout: Path) -> dict[str, str]:
    """The numbers of one checkout, as text."""
    package = checkout / "digitsum"
    files = sorted(package.rglob("*.py"))
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    found = [node for path in files for node in functions(path)]
    lengths = sorted(map(length, found))
    commands = {p for p in files if p.parent.name == "cli"}
    core = [length(node) for path in files if path not in commands for node in functions(path)]
    long = sum(n > LONG_FUNCTION for n in lengths)
    pairs, docs = arrows(package), [each for path in files for each in documented(path)]
    names = [Path(room).name for room in rooms(package)]
    return {
        "rooms": str(len(names)),
        "arrows": str(len(pairs)),
        "rooms in a circle": str(circles(pairs)),
        "files": str(len(files)),
        "lines": f"{sum(lines.values()):,}",
        f"files over {LONG_FILE} lines": str(sum(n > LONG_FILE for n in lines.values())),
        "longest file": str(max(lines.values())),
        "functions": str(len(found)),
        "median length": f"{statistics.median(lengths):g}",
        "90th percentile": str(lengths[int(0.9 * len(lengths))]),
        "longest": str(lengths[-1]),
        "longest outside cli": str(max(core)),
        f"over {LONG_FUNCTION} lines %": f"{100 * long / len(found):.1f}",
        "typed %": f"{100 * sum(map(is_typed, found)) / len(found):.1f}",
        "documented %": f"{100 * sum(docs) / len(docs):.1f}",
    }


def main(checkouts: list[Path]) -> None:
    """Prints the numbers of each checkout."""
    measured = [measure(checkout) for checkout in checkouts]
    for name in measured[0]:
        print(f"{name:24}", *(f"{numbers[name]:>10}" for numbers in measured))


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    main([Path(given) for given in sys.argv[1:]] or [here])
