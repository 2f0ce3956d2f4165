"""The structure of the package: imports only go down, methods do not know each other, and what is light stays light.

The layers are described in docs/design.md.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "nnunet_weak"
FOLDERS = {
    PACKAGE: ROOT / "nnunet_weak",
    f"{PACKAGE}.trainers": ROOT / "trainers",
    f"{PACKAGE}.dataset_conversion": ROOT / "dataset_conversion",
}

# From the top; a folder or loose module of the package stands in one layer.
LAYERS = (
    ("trainer_shims", "api", "front_door", "entry_points"),
    ("trainers", "dataset_conversion"),
    ("cli",),
    ("refinement",),
    ("training", "evaluation", "simulation"),
    ("annotate",),
    ("scores", "drawings", "points"),
    ("networks", "losses", "transforms"),
    ("dataset",),
    ("priors", "surface"),
    ("images", "morphology"),
    ("parallel", "options", "tables"),
    ("errors",),
    ("", "_autoload"),
)

# Folders of one method; in the others a module belongs to the method whose word its name begins with.
METHOD_FOLDERS = {"scores": "score", "drawings": "refineseg", "points": "weaknet"}
METHOD_WORDS = {
    "score": ("score", "mask_morphology", "soft_masks"),
    "refineseg": ("refineseg", "drawings", "annotat"),
    "weaknet": ("weaknet", "points", "reconstruction"),
}
NAMED_BY_METHOD = ("trainers", "dataset_conversion", "networks", "losses", "transforms")

# Everything but training, and what is made for it.
WITH_TORCH = ("trainers", "trainer_shims", "training", "networks", "losses", "transforms", "morphology")


def find_modules() -> dict[str, Path]:
    modules = {}
    for name, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            modules[".".join([name, *(part for part in parts if part != "__init__")])] = path
    return modules


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules of ours that a module imports anywhere in it, in functions and for type checking too."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = set()
    for target in imported:
        while target and target not in modules:  # a name in a module
            target = target.rpartition(".")[0]
        if target:
            ours.add(target)
    return ours - {name}


MODULES = find_modules()
IMPORTS = {name: imports_of(name, path, MODULES) for name, path in MODULES.items()}


def part_of(module: str) -> str:
    return (module.split(".") + [""])[1]


def layer_of(module: str) -> int:
    return next(index for index, parts in enumerate(LAYERS) if part_of(module) in parts)


def method_of(module: str) -> str | None:
    part, name = part_of(module), module.rpartition(".")[2]
    if part in NAMED_BY_METHOD:
        return next((method for method, words in METHOD_WORDS.items() if name.startswith(words)), None)
    return METHOD_FOLDERS.get(part)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_reader_of_imports_reads_them():
    assert f"{PACKAGE}.losses.score" in IMPORTS[f"{PACKAGE}.trainers.score"]
    assert layer_of(f"{PACKAGE}.trainers.score") < layer_of(f"{PACKAGE}.losses.score") < layer_of(f"{PACKAGE}.images")
    assert method_of(f"{PACKAGE}.scores.table") == method_of(f"{PACKAGE}.losses.score") == "score"
    assert {part for parts in LAYERS for part in parts} == {part_of(module) for module in MODULES}


def test_imports_go_down():
    up = {
        (module, target)
        for module, targets in IMPORTS.items()
        for target in targets
        if layer_of(target) < layer_of(module)
        or (layer_of(target) == layer_of(module) and part_of(target) != part_of(module))
    }
    assert up == set(), "imports from a layer above, or from another part of the same layer"


def test_no_circular_imports():
    # A package's own __init__ is loaded by all of its modules and may list them.
    graph = {name: IMPORTS[name] for name in MODULES if MODULES[name].name != "__init__.py"}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError with the cycle


def test_methods_do_not_import_each_other():
    foreign = {
        (module, target)
        for module in filter(method_of, MODULES)
        for target in IMPORTS[module]
        if method_of(target) not in (None, method_of(module))
    }
    assert foreign == set()


def test_scripts_import_what_exists():
    """Imports within functions too, which fail only when the function is called."""
    own = (PACKAGE, "benchmarks", "examples", "tools")
    wanted = {
        (node.module, alias.name) if isinstance(node, ast.ImportFrom) else (alias.name, "")
        for folder in own[1:]
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    wanted = sorted((module, name) for module, name in wanted if module.partition(".")[0] in own)
    assert len(wanted) > 100
    code = f"""
import importlib, sys
sys.path.insert(0, {str(ROOT)!r})
for module, name in {wanted!r}:
    if name and not hasattr(importlib.import_module(module), name):
        module = f"{{module}}.{{name}}"
    importlib.import_module(module)
"""
    run_python(code)


def test_what_needs_no_torch_works_without():
    light = [name for name in MODULES if part_of(name) not in WITH_TORCH]
    code = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "nnunetv2"):
            raise ModuleNotFoundError("torch and nnunetv2 are absent", name=name)
sys.meta_path.insert(0, Absent())
for name in {light!r}:
    importlib.import_module(name)
"""
    run_python(code)


def test_what_runs_in_every_python_process_is_light():
    code = f"""
import sys
before = set(sys.modules)
import {PACKAGE}._autoload
import json
print(json.dumps(sorted(set(sys.modules) - before - {{"json"}})))
"""
    loaded = json.loads(run_python(code).splitlines()[-1])
    own = [name for name in loaded if name.startswith(PACKAGE)]
    assert set(own) <= {PACKAGE, f"{PACKAGE}._autoload"}
    assert {name.partition(".")[0] for name in loaded} - {PACKAGE} <= set(sys.stdlib_module_names)
    assert IMPORTS[PACKAGE] == set() and IMPORTS[f"{PACKAGE}._autoload"] == set()
    imported = [node for node in ast.walk(ast.parse(MODULES[f"{PACKAGE}._autoload"].read_text())) if is_import(node)]
    assert [ast.unparse(node) for node in imported] == ["import os"]
    # Its public names are imported when they are asked for.
    assert not any(is_import(node) for node in ast.parse(MODULES[PACKAGE].read_text()).body)


def is_import(node: ast.AST) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def console_scripts() -> dict[str, str]:
    """Function of each command, as in `nnunet_weak.entry_points:evaluate`."""
    section = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.scripts]")[1].split("\n[")[0]
    return dict(re.findall(r'^(\S+) = "(\S+)"$', section, flags=re.MULTILINE))


HELP_SAYS = {
    "nnunet_weak_convert_points": ("nnUNetTrainerWeakNet", "CASE_CLASS"),
    "nnunet_weak_evaluate": ("both empty", "one empty", "Holm", "--nsd-tolerance-mm", "default: 2"),
    "nnunet_weak_make_phantoms": ("nnunet_weak_make_phantoms phantoms",),
    "nnunet_weak_prepare_inputs": ("nnUNetv2_predict",),
    "nnunet_weak_simulate_scores": ("Quality is 5 minus",),
}


HEAVY = (
    *("torch", "nnunetv2", "matplotlib", "pandas", "skimage", "nibabel", "blosc2"),
    *(f"scipy.{part}" for part in ("linalg", "ndimage", "optimize", "sparse", "spatial", "special", "stats")),
)


def test_every_command_is_an_entry_point_of_its_own_name():
    for command, target in console_scripts().items():
        name = "front_door" if command == "nnunet_weak" else command.removeprefix("nnunet_weak_")
        assert target == f"{PACKAGE}.entry_points:{name}"


@pytest.mark.parametrize("command", console_scripts())
def test_help_comes_without_loading_what_it_does_not_need(command: str):
    """As users wait for it: torch alone takes seconds."""
    module, _, function = console_scripts()[command].partition(":")
    text = run_python(f"""
import sys
from {module} import {function}
sys.argv = [{command!r}, "--help"]
try:
    {function}()
except SystemExit as stop:
    assert stop.code == 0
    print("loaded", *sorted(set({HEAVY!r}) & set(sys.modules)))
""")
    text, _, loaded = text.rpartition("loaded")
    assert loaded.split() == []
    assert text.startswith(f"usage: {command} ") and text.count(f"{command} ") > 1, "no example"
    for expected in HELP_SAYS.get(command, ()):
        assert expected in text


def test_an_entry_point_begins_with_little():
    """Ctrl-C is answered as soon as it is loaded."""
    code = f"""
import sys
before = set(sys.modules)
import {PACKAGE}.entry_points
print(*set(sys.modules) - before)
"""
    names = {name.partition(".")[0] for name in run_python(code).split()}
    assert names <= {PACKAGE, "signal", "enum", "types", "operator", "functools", "collections", "reprlib", "keyword"}
    assert {f"{PACKAGE}.cli.console", f"{PACKAGE}.cli"} >= IMPORTS[f"{PACKAGE}.entry_points"]
