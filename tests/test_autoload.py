"""The start file's module, also as Windows would run it: backslashes, drive letters, semicolons."""

from __future__ import annotations

import ntpath
import os
import posixpath
from pathlib import Path

import pytest

import nnunet_weak._autoload

SOURCE = Path(nnunet_weak._autoload.__file__).read_text(encoding="utf-8")
WINDOWS = r"C:\Users\Jörg Groß\env\Lib\site-packages\nnunet_weak"
POSIX = "/home/jörg groß/env/lib/python3.12/site-packages/nnunet_weak"


class System:
    """What the module uses of `os`, of another system."""

    def __init__(self, path, separator: str, environ: dict[str, str]) -> None:
        self.path, self.pathsep, self.environ = path, separator, environ


def start(system: System, folder: str, monkeypatch: pytest.MonkeyPatch) -> str:
    import sys

    monkeypatch.setitem(sys.modules, "os", system)
    code = compile(SOURCE, "_autoload.py", "exec")
    exec(code, {"__file__": system.path.join(folder, "_autoload.py"), "__name__": "nnunet_weak._autoload"})
    return system.environ["nnUNet_extTrainer"]


@pytest.mark.parametrize(
    "path, separator, folder, own",
    [(ntpath, ";", WINDOWS, r"D:\my trainers"), (posixpath, ":", POSIX, "/data/my trainers")],
    ids=["Windows", "POSIX"],
)
def test_the_folder_of_shims_is_appended_once(path, separator, folder, own, monkeypatch):
    if path is ntpath:  # ntpath.abspath asks Windows where there is one
        monkeypatch.setattr(ntpath, "abspath", lambda name: name)
    shims = path.join(folder, "trainer_shims")
    system = System(path, separator, {})
    assert start(system, folder, monkeypatch) == shims
    assert start(system, folder, monkeypatch) == shims, "processes inherit the variable"
    system = System(path, separator, {"nnUNet_extTrainer": own + separator})
    assert start(system, folder, monkeypatch).split(separator) == [own, shims]
    assert start(system, folder, monkeypatch).split(separator) == [own, shims]


def test_it_has_run_here():
    folders = os.environ["nnUNet_extTrainer"].split(os.pathsep)
    assert sum(Path(folder).name == "trainer_shims" for folder in folders) == 1
