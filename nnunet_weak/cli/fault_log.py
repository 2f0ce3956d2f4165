"""The log file of a fault of this package, for those who mend it.

It lies in the current folder, where its user will look, or in the temporary one if that cannot be written, and only its
owner can read it. It holds the traceback, the command line, and versions; nothing of the environment or of any image.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import traceback
from importlib import metadata

from nnunet_weak import __version__

_PACKAGES = (
    "nnunetv2",
    "torch",
    "numpy",
    "scipy",
    "scikit-image",
    "SimpleITK",
    "nibabel",
    "blosc2",
    "pandas",
    "openpyxl",
)


def write_fault_log(error: BaseException) -> str:
    """Write the log of an error; returns the message for the user."""
    command = shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
    text = "\n".join(
        [
            f"command: {command}",
            f"nnunet_weak {__version__}, Python {platform.python_version()}, {platform.platform()}",
            ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    said = f"This is a fault of nnunet_weak, please report it{_tracker()}: {reason}\n"
    for folder in (os.getcwd(), tempfile.gettempdir()):
        try:
            handle, path = tempfile.mkstemp(prefix="nnunet_weak_fault_", suffix=".log", dir=folder)
        except OSError:
            continue
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return f"{said}Attach {path} after a look at it: it holds the command line and perhaps names of files."
    return f"{said}No log file could be written, please attach what follows.\n\n{text}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _tracker() -> str:
    """Where to report, as the installed package says."""
    try:
        urls = metadata.metadata("nnunet_weak").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        urls = []
    addresses = [url.partition(",")[2].strip() for url in urls if url.lower().startswith("issues")]
    return f" at {addresses[0]}" if addresses else ", as CONTRIBUTING.md says"
