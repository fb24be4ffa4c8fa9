"""Imports go downward only: an arrow that points up, or sideways between strangers, fails here."""

import ast
from pathlib import Path

import foretell

LAYERS = {
    "core": 0,
    "data": 1, "model": 1, "laws": 1,
    "train": 2, "infer": 2, "tasks": 2,
    "evals": 3,
    "ladder": 4, "posttrain": 4,
    "report": 5, "serve": 5,
    "recipes": 6, "cli": 6,
}  # fmt: skip
STRANGERS = {"data", "model", "laws"}
SOURCE = Path(foretell.__file__).parent


def imported_packages(tree: ast.AST) -> set[str]:
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("foretell.")}


def top_level_imports(tree: ast.AST) -> set[str]:
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[0] for name in names}


def arrows() -> list[tuple[str, str, str]]:
    found = []
    for file in SOURCE.rglob("*.py"):
        package = file.relative_to(SOURCE).parts[0]
        if package in LAYERS:
            found += [(str(file), package, other) for other in imported_packages(ast.parse(file.read_text()))]
    return found


def test_every_package_has_a_layer() -> None:
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages == set(LAYERS)


def test_imports_point_downward() -> None:
    seen = arrows()
    assert len(seen) > 50
    for file, package, other in seen:
        if other == package:
            continue
        both_on_top = {package, other} == {"cli", "recipes"}
        assert LAYERS[other] < LAYERS[package] or (both_on_top and package == "cli"), f"{file} imports {other}"
        assert not {package, other} <= STRANGERS, f"{file} imports {other}"


def test_laws_need_numpy_and_scipy_only() -> None:
    for file in (SOURCE / "laws").rglob("*.py"):
        assert not top_level_imports(ast.parse(file.read_text())) & {"torch", "pydantic", "tokenizers", "pyarrow"}, file


def test_files_stay_short() -> None:
    written = [file for kind in ("py", "js", "css", "html") for file in SOURCE.rglob(f"*.{kind}")]
    for file in [*written, *Path(__file__).parent.rglob("*.py")]:
        assert len(file.read_text().splitlines()) <= 400, file
