"""Regions as named on a command line, each with its labels or files in the initial masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnunet_weak.errors import Problems
from nnunet_weak.images.read import strip_ending


@dataclass(frozen=True)
class RegionSource:
    """One region and where it is found.

    Attributes:
        name: Name of the region, a class of the data set to come.
        labels: Its values in a label map; empty where it comes from files.
        patterns: Its files in a folder, without ending, wildcards as in a shell; empty where it comes from a label map.
        largest_component: Whether only its largest connected component in a mask counts.
    """

    name: str
    labels: tuple[int, ...] = ()
    patterns: tuple[str, ...] = ()
    largest_component: bool = False


def parse_regions(texts: Sequence[str]) -> tuple[RegionSource, ...]:
    """Regions as given on a command line.

    `NAME=LABEL` for label maps, several labels and ranges separated by commas (`hip=3,7-9`); `NAME=PATTERN` for
    folders of binary masks, several patterns separated by commas (`ribs=rib_left_*,rib_right_*`); `NAME` alone is the
    file of that name. Where two regions name the same file or overlap, the first-named region wins.

    Raises:
        InvalidInputError: Names nnU-Net or the rest of the pipeline cannot take, names or labels given twice, labels
        and patterns mixed.
    """
    problems = Problems()
    regions = []
    for text in texts:
        name, equals, source = (part.strip() for part in text.partition("="))
        parts = [part.strip() for part in (source if equals else name).split(",")]
        where = f"region '{text}'"
        reason = _why_not_a_region_name(name)
        if reason:
            problems.add(where, reason, "write NAME=LABEL or NAME=FILE, with a name such as shaft or rib_left")
        if not all(parts):
            problems.add(where, "no label or file is given", "write NAME=LABEL or NAME=FILE")
            continue
        ranges = [re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part) for part in parts]
        if not any(ranges):
            patterns = tuple(strip_ending(part) if "." in part else part for part in parts)
            regions.append(RegionSource(name, patterns=patterns))
        elif all(ranges):
            # Of numbers that are far too large, the length will do: Python refuses to read thousands of digits.
            bounds = [tuple(int(text[:9]) for text in (found[1], found[2] or found[1])) for found in ranges if found]
            if not all(1 <= first <= last <= np.iinfo(np.uint16).max for first, last in bounds):
                problems.add(where, "labels are numbers from 1 to 65535, ranges run upwards; 0 is the background")
                continue
            labels = [label for first, last in bounds for label in range(first, last + 1)]
            regions.append(RegionSource(name, labels=tuple(labels)))
        else:
            problems.add(where, "labels and file names are mixed", "give either")
    _check_together(regions, problems)
    problems.raise_if_any("regions")
    return tuple(regions)


def keep_largest_components(regions: Sequence[RegionSource], names: Sequence[str]) -> tuple[RegionSource, ...]:
    """The regions, of which those named are reduced to their largest connected component where a mask is read.

    Raises:
        InvalidInputError: A name is none of the regions.
    """
    problems = Problems()
    known = [region.name for region in regions]
    for name in names:
        if name not in known:
            problems.add(f"--largest-component {name}", "is no region", f"the regions are {', '.join(known)}")
    problems.raise_if_any()
    return tuple(replace(region, largest_component=region.name in names) for region in regions)


def from_files(regions: Sequence[RegionSource]) -> bool:
    """Whether the masks of the regions are files in a folder instead of labels of a label map."""
    return any(region.patterns for region in regions)


def _check_together(regions: Sequence[RegionSource], problems: Problems) -> None:
    if not regions and not problems:
        problems.add("regions", "none given", "write NAME=LABEL or NAME=FILE for each")
    if any(region.labels for region in regions) and from_files(regions):
        problems.add(
            "regions", "some are given as labels of a label map, some as files", "give all as one or the other"
        )
    names: dict[str, str] = {}
    owners: dict[int, str] = {}
    for region in regions:
        where = f"region '{region.name}'"
        other = names.setdefault(region.name.casefold(), region.name)
        if other is not region.name:
            problems.add(where, f"named twice ({other})", "list all its labels or files in one: NAME=A,B")
        for label in region.labels:
            if owners.setdefault(label, region.name) != region.name:
                problems.add(where, f"label {label} is {owners[label]} already", "give each label to one region")


def _why_not_a_region_name(name: str) -> str:
    if not name:
        return "the name is empty"
    if name.casefold() in ("background", "ignore"):
        return f"'{name}' has a meaning of its own in nnU-Net"
    if re.fullmatch(r"\d+", name):
        return "a number is no name"
    bad = sorted(set(re.findall(r"[^\w .+()-]", name)))
    return f"the name may not contain {' '.join(bad)}" if bad else ""
