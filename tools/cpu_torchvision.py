"""Make `import torchvision` succeed beside a CPU build of PyTorch from another source than torchvision's.

nnU-Net imports timm, which imports torchvision. The default Linux wheel of torchvision is linked against CUDA, so
beside a CPU build of PyTorch its compiled operators do not load and its import fails on a missing schema
(`torchvision::nms`). nnU-Net never calls these operators. Where the import fails for this reason, this script lets the
installed copy define the schema itself; everywhere else it does nothing. It changes only the virtual environment whose
Python runs it, and running it twice is harmless.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

MISSING = "operator torchvision::nms does not exist"
ANCHOR = re.compile(r"^import torchvision\.extension.*\n", re.MULTILINE)
PATCH = """\\g<0>if not torchvision.extension._has_ops():
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def main() -> int:
    """Check the import in a process of its own and mend the installed copy where that is the cause."""
    if importlib.util.find_spec("torchvision") is None:
        return 0
    error = _import_error()
    if MISSING not in error:
        return 0
    spec = importlib.util.find_spec("torchvision")
    source = Path(spec.submodule_search_locations[0]) / "_meta_registrations.py"
    text = source.read_text()
    if not ANCHOR.search(text):
        print(f"{source} is not as expected: install a torchvision that matches your PyTorch build.", file=sys.stderr)
        return 1
    source.write_text(ANCHOR.sub(PATCH, text, count=1))
    error = _import_error()
    if error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _import_error() -> str:
    done = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True)
    return done.stderr if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
