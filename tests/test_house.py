"""The package as a house: rooms whose imports only lead down, modules of a size that one can read.

``python tests/test_house.py`` prints the floors.
"""

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ktnet_lite"
OUTSIDE = [ROOT / "book", ROOT / "book" / "explorer", ROOT / "benchmarks", ROOT / "notebooks", ROOT / "tests"]

Graph = dict[str, set[str]]  # room or module -> those that it imports


def name_of(path: Path) -> str:
    """Dotted name of a module of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import below a node, those in functions too, but for those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from (found for branch in child.orelse for found in statements(ast.Module([branch], [])))
        elif isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        else:
            yield from statements(child)


def imports(source: str, modules: Iterable[str] = ()) -> set[str]:
    """Dotted names of the modules that a source imports; ``modules`` tells a module from a name in its package."""
    names = set()
    for statement in statements(ast.parse(source)):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        else:
            assert statement.level == 0, "imports are absolute"
            full = {f"{statement.module}.{alias.name}" for alias in statement.names}
            names |= {name if name in modules else statement.module for name in full}
    return names


IMPORTS = {name: imports(path.read_text(encoding="utf-8"), MODULES) for name, path in MODULES.items()}


def room_of(module: str) -> str:
    """The room of a module, the first name below the package; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def rooms() -> Graph:
    """The rooms, and those that each imports."""
    graph: Graph = {room_of(module): set() for module in MODULES if room_of(module)}
    for module, names in IMPORTS.items():
        if room := room_of(module):
            graph[room] |= {room_of(name) for name in names if name.startswith("ktnet_lite.")} - {room}
    return graph


def modules_of(room: str) -> Graph:
    """The modules of a room, and those of the same room that each imports."""
    inside = {module for module in MODULES if room_of(module) == room}
    return {module: (IMPORTS[module] & inside) - {module} for module in inside}


def floors(graph: Graph) -> dict[str, int]:
    """The floor of each: 0 without imports, else one above the highest import; CycleError if imports go in a circle."""
    floor: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        floor[name] = 1 + max((floor[below] for below in graph[name]), default=-1)
    return floor


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def size(*chosen: str) -> int:
    """Lines of some rooms, blank ones not counted."""
    kept = [path for name, path in MODULES.items() if room_of(name) in chosen]
    return sum(bool(line.strip()) for path in kept for line in lines(path))


def core() -> int:
    """Lines of the package without its rooms for other people's data, clips and runtimes, and for the course."""
    return size(*({room_of(name) for name in MODULES} - {"course", "data", "deploy", "extract"}))


def test_imports_between_rooms_only_lead_down():
    floor = floors(rooms())
    assert max(floor.values()) < 12, floor
    assert len(floor) <= 20, sorted(floor)
    assert floor["names"] == 0 and floor["__main__"] == max(floor.values())


@pytest.mark.parametrize("room", ["data", "model", "training", "experiments", "extract", "reporting"])
def test_imports_between_the_modules_of_a_room_only_lead_down(room):
    assert len(floors(modules_of(room))) > 3


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_no_longer_than_350_lines(module):
    assert len(lines(MODULES[module])) <= 350


def test_the_package_is_no_longer_than_9400_lines_without_course_data_deployment_and_extraction():
    """It had less than 5,000 before the walls against bad files, machines that fail, and kills."""
    assert core() <= 9400
    assert size("extract") <= 2400
    assert size("deploy") <= 1050


def test_book_and_benchmarks_import_the_package_and_never_the_other_way():
    for folder in (ROOT / "book" / "ktbook", ROOT / "benchmarks"):
        sources = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
        assert any(name.startswith("ktnet_lite.") for source in sources for name in imports(source)), folder
    others = {path.stem for folder in OUTSIDE for path in folder.glob("*.py")} | {"ktbook", "benchmarks", "tests"}
    assert {"step", "make", "execute", "small"} <= others
    for module, names in IMPORTS.items():
        assert not {name.partition(".")[0] for name in names} & others, module


def test_a_circle_is_noticed():
    assert floors({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"c": 0, "b": 1, "a": 2}
    with pytest.raises(CycleError, match=r"\['a', 'b', 'a'\]|\['b', 'a', 'b'\]"):
        floors({"a": {"b"}, "b": {"a"}})


def test_imports_are_found_wherever_they_stand_but_for_type_checkers():
    source = """
if TYPE_CHECKING:
    import a.types
else:
    import b
from c import d, e

class F:
    def g(self):
        try:
            import h.i
        except ImportError:
            from c.d import j
"""
    assert imports(source, {"c", "c.d"}) == {"b", "c", "c.d", "h.i"}


if __name__ == "__main__":
    graph, floor = rooms(), floors(rooms())
    for name in sorted(floor, key=lambda name: (floor[name], name)):
        print(f"{floor[name]:2}  {name:12} {', '.join(sorted(graph[name], key=floor.get))}")
    longest = max(MODULES, key=lambda name: len(lines(MODULES[name])))
    print(f"{len(floor)} rooms on {1 + max(floor.values())} floors")
    print(f"{core():,} lines without course, data, deploy, extract and blank lines")
    print(f"longest module: {longest}, {len(lines(MODULES[longest]))} lines")
