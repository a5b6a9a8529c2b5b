"""What holds of the code as a whole: the direction of its imports, and what is nowhere in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "photocluster"

LEVELS = (
    {"errors", "records"},
    {
        "walking", "patience",
        "photos", "formats", "exif", "bursts", "colour", "raw", "heif", "jxl", "large",
        "video", "frames", "tracking", "containers", "overlay", "alignment", "quality", "graph", "spanning",
        "hierarchy",
        "_kernels", "_search", "_cells", "_tiles", "_joining", "constraints", "groups", "merging", "clustering",
        "assembly", "judgement", "attachment", "identification", "calibration", "suggestions", "evaluation",
        "thumbnails", "perceptual", "sheet_plan", "sheet_pages", "regions", "rdf", "xmp_parts", "embedded",
    },
    {
        "sessions", "models", "store", "contact_sheet", "tables", "metadata", "xmp_regions", "xmp_merge", "exiftool",
        "foreign",
    },
    {"pipeline"},
    {"cli", "review", "__main__", "__init__"},
)  # fmt: skip
"""The modules and packages right below photocluster/, from the lowest up. An import goes down, or stays on a level."""

HEAVY = {
    "numpy", "scipy", "sklearn", "hdbscan", "numba", "onnxruntime", "insightface", "cv2", "PIL", "pillow_heif",
    "pyarrow", "rich", "jinja2", "matplotlib", "platformdirs", "av", "rawpy", "watchfiles", "starlette", "uvicorn",
    "lxml", "pyvips", "pillow_jxl",
}  # fmt: skip
"""What `photocluster --help` must not wait for."""

NETWORK = {"socket", "urllib", "http", "requests", "httpx", "ftplib", "smtplib", "ssl", "asyncio", "aiohttp", "urllib3"}

SERVED = {"review"}
"""The one part that opens a socket: a server on this machine."""

MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """Return the module or package right below photocluster/ that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def level(name: str) -> int:
    for number, names in enumerate(LEVELS):
        if name in names:
            return number
    pytest.fail(f"photocluster/{name} has no level: put it into LEVELS of {__file__}")


def imports(tree: ast.AST, *, top_only: bool = False) -> Iterator[tuple[str, int]]:
    """Yield (full module name, line) of what is imported, without what is there for type checkers alone."""
    nodes = _run_at_import(tree) if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"a relative import in line {node.lineno}"
            yield node.module or "", node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _run_at_import(node)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(PACKAGE.parent)}:{line}"


def test_imports_go_down():
    upwards = []
    for path in MODULES:
        for name, line in imports(parsed(path)):
            root, _, rest = name.partition(".")
            if root == "photocluster" and rest and rest != "__version__":
                other = rest.split(".")[0]
                if level(other) > level(part(path)):
                    upwards.append(f"{where(path, line)} imports {name}")
    assert upwards == []


def test_no_assert_print_or_pickle():
    found = []
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Assert):
                found.append(f"{where(path, node.lineno)}: assert")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found += [f"{where(path, node.lineno)}: {node.func.id}"] * (node.func.id in {"print", "eval", "exec"})
        pickles = {"pickle", "shelve", "marshal", "joblib", "dill"}
        found += [f"{where(path, line)}: {n}" for n, line in imports(parsed(path)) if n.split(".")[0] in pickles]
    assert found == []


def test_the_commands_print_by_the_console_alone():
    """`console` makes harmless what a file name would do to a terminal; `pictures` writes nothing but pictures."""
    printing = {"echo", "secho", "echo_via_pager", "confirm", "prompt", "print", "write", "writelines"}
    constant = {("suggest.py", "prompt")}
    found = [
        f"{where(path, node.lineno)}: {node.func.attr}"
        for path in MODULES
        if part(path) == "cli" and path.name not in {"console.py", "pictures.py"}
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in printing
        if (path.name, node.func.attr) not in constant
    ]
    assert found == []


def test_nothing_reaches_the_network():
    text_only = {"urllib", "urllib.parse", "urllib.parse.quote", "urllib.parse.unquote", "http", "http.HTTPStatus"}
    found = [
        f"{where(path, line)} imports {name}"
        for path in MODULES
        if part(path) not in SERVED
        for name, line in imports(parsed(path))
        if name.split(".")[0] in NETWORK and name not in text_only
    ]
    assert found == []


def test_all_is_sorted_and_true():
    for path in MODULES:
        tree = parsed(path)
        defined = {name.split(".")[-1] for name, _ in imports(tree)}
        lists = []
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                defined.add(node.name)
            elif isinstance(node, ast.Assign):
                names = {target.id for target in node.targets if isinstance(target, ast.Name)}
                defined |= names
                lists += [ast.literal_eval(node.value)] if "__all__" in names else []
        for names in lists:
            by_kind = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
            assert names in (sorted(names), by_kind), path
            assert set(names) <= defined, path


def test_commands_import_nothing_heavy_before_they_run():
    found = []
    for path in (PACKAGE / "cli").glob("*.py"):
        for name, line in imports(parsed(path), top_only=True):
            light = ("photocluster.cli", "photocluster.errors", "photocluster.__version__")
            always = path.name in {"main.py", "__init__.py"} and name.startswith("photocluster.")
            if name.split(".")[0] in HEAVY or (always and not name.startswith(light)):
                found.append(f"{where(path, line)} imports {name} at its top")
    assert found == []


def test_every_module_and_public_thing_says_what_it_is():
    silent = []
    for path in MODULES:
        tree = parsed(path)
        silent += [] if ast.get_docstring(tree) else [str(path)]
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                silent += [] if ast.get_docstring(node) else [f"{where(path, node.lineno)}: {node.name}"]
    assert silent == []


def test_no_module_of_odds_and_ends():
    names = {path.stem for path in MODULES}
    assert not names & {"utils", "util", "common", "helpers", "base", "misc"}
