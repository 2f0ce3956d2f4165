"""Hook of MkDocs: pages that are generated, links between repository and site, and equations without JavaScript.

Generated: the commands (from their parsers), the trainers and the Python API (lists of names, whose docstrings
mkdocstrings renders), the tables of `benchmarks/results/*.json`, and pages for CHANGELOG.md and CONTRIBUTING.md, which
stand at the top of the repository. Equations become MathML, which browsers draw by themselves.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert as mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` is no installed package

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
TOP_LEVEL_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
OTHER_FILES = ("LICENSE", "CITATION.cff", "SECURITY.md", "examples/notebooks")
"""What the pages link to and the site has not."""
BADGE = re.compile(r"^(?:\[!\[.*\]\(https://img.*|!\[.*\]\(https://img.*)\n", re.MULTILINE)
COMMANDS = {
    "Overview": ("nnunet_weak",),
    "Data sets from annotation": (
        "nnunet_weak_annotate", "nnunet_weak_convert_scores", "nnunet_weak_convert_drawings",
        "nnunet_weak_convert_points", "nnunet_weak_add_weights", "nnunet_weak_fuse",
    ),
    "Training and prediction": (
        "nnunet_weak_preprocess_annotations", "nnunet_weak_refine", "nnunet_weak_prepare_inputs",
        "nnunet_weak_set_threshold",
        "nnunet_weak_add_input_channels", "nnunet_weak_report_annotators",
    ),
    "Measuring": ("nnunet_weak_evaluate", "nnunet_weak_estimate_quality"),
    "Simulation": (
        "nnunet_weak_make_phantoms", "nnunet_weak_simulate_scores", "nnunet_weak_simulate_drawings",
        "nnunet_weak_simulate_points", "nnunet_weak_simulate_slices",
    ),
}  # fmt: skip
"""Commands by what they are for; others stand at the end."""

API = {
    "Data sets": ("convert_scores", "convert_drawings", "convert_points", "load_annotations", "read_points"),
    "Surfaces": ("fit_surface", "rasterise"),
    "Boundary prior": ("boundary_prior", "PriorOptions"),
    "Morphology": ("signed_distance", "dilate", "erode"),
    "Measuring": ("evaluate", "evaluate_case"),
    "Simulation": (
        "make_phantom", "simulate_scores", "simulate_points", "draw_positive", "draw_negative", "ANNOTATORS",
    ),
    "Errors": ("InvalidInputError",),
}  # fmt: skip


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "reference/commands.md": commands_page(),
        "reference/trainers.md": trainers_page(),
        "reference/api.md": api_page(),
        "benchmarks.md": benchmarks_page(ROOT / "benchmarks" / "results"),
        **{page: (ROOT / name).read_text("utf-8") for name, page in TOP_LEVEL_PAGES.items()},
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    listed = re.findall(r"[\w/]+\.md", str(config.nav))
    for path in sorted((ROOT / "docs").rglob("*.md")):
        name = path.relative_to(ROOT / "docs").as_posix()
        if name not in listed:  # a new page needs no line in mkdocs.yml
            config.nav[1]["How to"].append({_heading(path): name})  # type: ignore[index]
    return files


def on_page_markdown(markdown: str, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Make links that are right on the repository's pages right in the site."""
    up = "../" * page.file.src_uri.count("/")
    markdown = BADGE.sub("", markdown)  # the site loads nothing from elsewhere
    for name in OTHER_FILES:
        markdown = re.sub(rf"\[([^\]]*)\]\({re.escape(name)}\)", r"\1", markdown)
    for name, target in TOP_LEVEL_PAGES.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{re.escape(name)}(#[^)]*)?\)", rf"]({up}{target}\1)", markdown)
    return re.sub(r"\]\(docs/", f"]({up}", markdown) if page.file.src_uri in TOP_LEVEL_PAGES.values() else markdown


def on_page_content(content: str, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Write equations as MathML."""

    def formula(match: re.Match[str]) -> str:
        display = "block" if match[2] == "[" else "inline"
        return mathml(html.unescape(match[3]).strip(), display=display)

    return FORMULA.sub(formula, content)


def console_scripts() -> dict[str, str]:
    """Module and function of each command, as `pyproject.toml` declares them."""
    section = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.scripts]")[1].split("\n[")[0]
    return dict(re.findall(r'^(\S+) = "(\S+)"$', section, flags=re.MULTILINE))


def help_of(command: str, target: str) -> str:
    """What a command answers to `--help`, 100 columns wide."""
    module, _, function = target.partition(":")
    code = f"import sys; from {module} import {function}; sys.argv = [{command!r}, '--help']; {function}()"
    # A process of its own: commands change how signals are handled.
    environment = {**os.environ, "COLUMNS": "100"}
    words = [sys.executable, "-c", code]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.rstrip()


def commands_page() -> str:
    """All commands with their help."""
    scripts = console_scripts()
    lines = [
        "# Commands",
        "",
        "Generated from the commands' own parsers. `nnunet_weak_... --help` prints the same.",
        "",
    ]
    for title, names in _grouped(COMMANDS, list(scripts)):
        lines += [f"## {title}", ""]
        for command in names:
            lines += [f"### {command}", "", "```text", help_of(command, scripts[command]), "```", ""]
    return "\n".join(lines)


def trainers_page() -> str:
    """All trainers with their attributes."""
    from nnunet_weak import trainers

    lines = [
        "# Trainers",
        "",
        "Names for `nnUNetv2_train -tr`. Hyperparameters are class attributes; a variant is a subclass in a folder",
        "that the variable `nnUNet_extTrainer` names.",
        "",
    ]
    for name in trainers.__all__:
        module = getattr(trainers, name).__module__.removeprefix("nnunet_weak.")  # where the source is
        lines += [f"::: {module}.{name}", "    options:", "      members: false", "      heading_level: 2", ""]
    return "\n".join(lines)


def api_page() -> str:
    """All public names."""
    import nnunet_weak

    names = [name for name in nnunet_weak.__all__ if name != "__version__"]
    lines = [
        "# Python API",
        "",
        "`import nnunet_weak` gives the names below. It is instant: each is imported when it is first asked for, and",
        "only morphology needs PyTorch. Arrays are (z, y, x), images are SimpleITK's, world positions are LPS in mm.",
        "",
    ]
    for title, group in _grouped(API, names):
        lines += [f"## {title}", ""]
        for name in group:
            lines += [f"::: nnunet_weak.{nnunet_weak._MODULE_OF[name]}.{name}", ""]
    return "\n".join(lines)


def benchmarks_page(results: Path) -> str:
    """Tables of the files of results, one for each folder, data set and schedule."""
    lines = [
        "# Benchmark tables",
        "",
        "Generated from `benchmarks/results/*.json`, which `benchmarks/all.py` and the scripts beside it write: the",
        "metrics of every held-out case with date, commit and schedule. Nothing here is typed.",
        "",
    ]
    found = [json.loads(path.read_text("utf-8")) for path in sorted(results.rglob("*.json"))]
    rows = [result for result in found if isinstance(result, Mapping) and {"row", "metrics"} <= set(result)]
    if not rows:
        return "\n".join(
            [*lines, "There are no files of results yet; [Measured results](results.md) has what was found."]
        )
    from benchmarks.tables import table

    schedules = {json.dumps([row["row"]["data"], row["schedule"]], sort_keys=True): row for row in rows}
    for key, first in schedules.items():
        chosen = [row for row in rows if json.dumps([row["row"]["data"], row["schedule"]], sort_keys=True) == key]
        dates = sorted({row["date"] for row in chosen})
        commits = sorted({str(row["commit"]) for row in chosen})
        schedule = ", ".join(f"{name} {value}" for name, value in first["schedule"].items())
        counts = ", ".join(f"{count} {part.replace('_', ' ')}" for part, count in first["cases"].items())
        lines += [f"## {first['row']['data']}", "", f"{counts}. Schedule: {schedule}.", ""]
        lines += [f"{dates[0]} to {dates[-1]}, commits {', '.join(commits)}.", "", table(chosen), ""]
    return "\n".join(lines)


def _heading(path: Path) -> str:
    """First heading of a page."""
    return next(line[2:] for line in path.read_text("utf-8").splitlines() if line.startswith("# "))


def _grouped(groups: Mapping[str, tuple[str, ...]], names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Groups of the names that exist; names of no group make the last one."""
    for title, group in groups.items():
        yield title, [name for name in group if name in names]
    others = [name for name in names if not any(name in group for group in groups.values())]
    if others:
        yield "Others", others
