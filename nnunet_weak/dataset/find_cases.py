"""Find the cases of a folder of images: which files, in which order of channels, belong to which case.

Four ways of storing images are understood: one file for each case; nnU-Net's `CASE_0000.nii.gz`, `CASE_0001.nii.gz`
for the channels; files with endings of one's own such as `CASE_T1.nii.gz`, `CASE_T2.nii.gz`; a folder for each case
with one file for each channel, or with a DICOM series.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.dicom import dicom_series
from nnunet_weak.images.header import check_name
from nnunet_weak.images.read import list_images

CaseLayout = Literal["auto", "files", "channels", "folders"]

_log = logging.getLogger(__name__)
_CHANNEL_NUMBER = re.compile(r"(.+)_(\d{4})")


def discover_cases(
    folder: Path | str, *, channel_suffixes: Sequence[str] | None = None, layout: CaseLayout = "auto"
) -> dict[str, list[Path]]:
    """Find the cases and their images.

    Args:
        folder: Folder with the images, or with a folder for each case.
        channel_suffixes: What file names end with, channel by channel, for example `("_T1", "_T2")`; in folders of
            cases `T1.nii.gz` will do.
        layout: "files", one file for each case; "channels", nnU-Net's `CASE_0000`; "folders", a folder for each case.
            "auto" takes folders where there are no files, and "channels" where there is a `_0000` and every name ends
            with four digits.

    Returns:
        Channel files by case, sorted by case; the channels in the order of their numbers, of the suffixes, or of their
        names. A DICOM series is represented by its folder; `nnunet_weak.images.read.read_case_image` reads either.

    Raises:
        InvalidInputError: Everything that is wrong, in one list: no images, a channel missing, other numbers of
            channels, channels that are called differently from case to case, duplicates, names that nnU-Net cannot
            take.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: no such folder (remedy: check path and name)")
    suffixes = _checked_suffixes(channel_suffixes or ())
    files = list_images(folder)
    subfolders = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    for path in subfolders:
        check_name(path)
    if layout == "auto":
        layout = "folders" if not files and subfolders else "channels" if _are_channels(files) else "files"
    if layout != "folders" and files and subfolders:
        _log.warning(
            "%s: its %d folders are not searched for images, as it holds images itself", folder, len(subfolders)
        )
    problems = Problems()
    channels: Sequence[str] = suffixes
    if layout == "folders":
        found = _from_folders(subfolders, suffixes, problems)
    elif suffixes:
        told = f"the name ends with none of {', '.join(suffixes)}", "rename or remove it, or add its suffix"
        found = _grouped(files, lambda name: _split_suffix(name, suffixes), told, problems)
    elif layout == "channels":
        told = "the name does not end with a channel number such as _0000", "rename it, or use the layout 'files'"
        found = _grouped(files, _split_number, told, problems)
        last = max((int(number) for paths in found.values() for number in paths), default=-1)
        channels = [f"{number:04d}" for number in range(last + 1)]
    else:
        found = {name: {"": path} for name, path in files.items()}
    if not found and not len(problems):
        problems.add(str(folder), "no images found", "give the folder that holds the images, or a folder for each case")
    if channels:
        found = {
            case: _in_order(paths, channels, f"{folder}, case '{case}'", problems) for case, paths in found.items()
        }
    _check_channels(found, problems, folder)
    _check_names(found, problems, folder)
    problems.raise_if_any(str(folder))
    return {case: list(paths.values()) for case, paths in sorted(found.items())}


def why_not_a_case_name(name: str) -> str:
    """Why nnU-Net, or a file system it may be copied to, cannot take a case name; empty where it can."""
    if not name or name.startswith((".", "-")) or name.endswith((".", " ")) or name.startswith(" "):
        return "it is empty, or begins or ends with a dot, a hyphen or a blank"
    bad = sorted(set(re.findall(r'[\x00-\x1f/\\:*?"<>|,]', name)))
    if bad:
        return f"it contains {' '.join(repr(char) for char in bad)}"
    if name.lower().endswith("_seg"):
        return "it ends with _seg, by which nnU-Net tells preprocessed labels from images"
    return ""


def _checked_suffixes(suffixes: Sequence[str]) -> tuple[str, ...]:
    cleaned = tuple(suffix.strip() for suffix in suffixes)
    clashes = [(one, other) for one in cleaned for other in cleaned if one != other and other.endswith(one)]
    if not all(cleaned) or len(set(cleaned)) < len(cleaned):
        raise InvalidInputError(
            f"channel suffixes {', '.join(map(repr, cleaned))}: each must be given once, and none may be empty"
        )
    if clashes:
        raise InvalidInputError(
            f"channel suffixes: '{clashes[0][1]}' ends with '{clashes[0][0]}', so files could be either"
        )
    return cleaned


def _are_channels(files: Iterable[str]) -> bool:
    numbers = [_CHANNEL_NUMBER.fullmatch(name) for name in files]
    return bool(numbers) and all(numbers) and any(number and number[2] == "0000" for number in numbers)


def _split_number(name: str) -> tuple[str, str] | None:
    match = _CHANNEL_NUMBER.fullmatch(name)
    return (match[1], match[2]) if match else None


def _split_suffix(name: str, suffixes: Sequence[str]) -> tuple[str, str] | None:
    for suffix in suffixes:
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix), suffix
    return None


def _grouped(
    files: dict[str, Path],
    split: Callable[[str], tuple[str, str] | None],
    told: tuple[str, str],
    problems: Problems,
) -> dict[str, dict[str, Path]]:
    """Files by case and channel; `told` is the problem with names that cannot be split, and its remedy."""
    found: dict[str, dict[str, Path]] = {}
    for name, path in files.items():
        parts = split(name)
        if parts is None:
            problems.add(str(path), *told)
        else:
            found.setdefault(parts[0], {})[parts[1]] = path
    return found


def _from_folders(
    subfolders: Sequence[Path], suffixes: Sequence[str], problems: Problems
) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    images_of = {subfolder: problems.attempt(list_images, subfolder) for subfolder in subfolders}
    without = [subfolder for subfolder, images in images_of.items() if images == {}]
    series_of = dict(zip(without, dicom_series(without), strict=True))
    for subfolder, images in images_of.items():
        case, where = subfolder.name, str(subfolder)
        if images is None:
            continue
        if not images:
            series = series_of[subfolder]
            if len(series) == 1 and len(suffixes) < 2:
                found[case] = {suffixes[0] if suffixes else "": subfolder}
            else:
                what = f"{len(series)} DICOM series" if series else "no images"
                remedy = "convert each series to an image file" if series else ""
                problems.add(where, f"{what}, images or one series are needed", remedy)
        elif suffixes:
            channels = found[case] = {}
            for name, path in images.items():
                matching = (end for end in suffixes if name.endswith(end) or name == end.lstrip("_-"))
                suffix = next(matching, None)
                if suffix in channels:
                    problems.add(where, f"{path.name} and {channels[suffix].name} both end with {suffix}", "keep one")
                elif suffix is not None:
                    channels[suffix] = path
        elif len(images) == 1:  # a single channel may have any name
            found[case] = {"": next(iter(images.values()))}
        else:
            found[case] = {name.removeprefix(case).lstrip("_-"): path for name, path in images.items()}
    return found


def _in_order(paths: dict[str, Path], channels: Sequence[str], where: str, problems: Problems) -> dict[str, Path]:
    missing = [channel for channel in channels if channel not in paths]
    if missing:
        problems.add(
            where,
            f"channel {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''} is missing, "
            f"it has {', '.join(paths) or 'none'}",
            "add the file, or leave the case out; where digits are part of the name, use the layout 'files'",
        )
    return {channel: paths[channel] for channel in channels if channel in paths}


def _check_channels(found: dict[str, dict[str, Path]], problems: Problems, folder: Path) -> None:
    if len(problems):  # a missing channel was reported more precisely
        return
    groups: dict[tuple[str, ...], list[str]] = {}
    for case, channels in found.items():
        groups.setdefault(tuple(channels), []).append(case)
    if len(groups) < 2:
        return
    usual = max(groups, key=lambda names: len(groups[names]))
    for names, cases in groups.items():
        if names != usual:
            for case in cases:
                problems.add(
                    f"{folder}, case '{case}'",
                    f"{len(names)} channel{'s' if len(names) != 1 else ''} ({_shown(names)}), "
                    f"most cases have {len(usual)} ({_shown(usual)})",
                    "all cases need the same channels under the same names; channel suffixes choose and order them",
                )


def _check_names(found: Iterable[str], problems: Problems, folder: Path) -> None:
    seen: dict[str, str] = {}
    for case in found:
        reason = why_not_a_case_name(case)
        if reason:
            problems.add(f"{folder}, case '{case}'", f"nnU-Net cannot take this name: {reason}", "rename the case")
        other = seen.setdefault(case.casefold(), case)
        if other != case:
            problems.add(
                f"{folder}, case '{case}'", f"differs from '{other}' in letter case only", "rename one of the two"
            )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(name or "one file" for name in names)
