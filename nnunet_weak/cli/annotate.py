"""`nnunet_weak_annotate`: score, draw or click points in a browser."""

from __future__ import annotations

import signal
import threading
import webbrowser
from collections.abc import Sequence

from nnunet_weak.annotate.options import AnnotateOptions
from nnunet_weak.cli.console import console_command
from nnunet_weak.options import parse

_EPILOG = """
examples
  nnunet_weak_annotate phantoms --task scores --annotator anna
  nnunet_weak_annotate study --task drawings --annotator ben --classes liver spleen
  nnunet_weak_annotate study --task points --annotator ben --classes synapse --no-browser --port 8765
on a computer elsewhere, the last with
  ssh -L 8765:127.0.0.1:8765 COMPUTER

written as one annotates, below FOLDER/annotation:
  scores.csv, drawings/NAME, points/NAME   what the converters read; the page shows the command
  state/TASK/NAME/CASE.json                what the page knows, one file for each case
  journal/NAME.jsonl                       every save, in order
Nothing is sent anywhere: the page is served to this computer alone. Ctrl-C ends it.
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(
        AnnotateOptions,
        argv,
        prog="nnunet_weak_annotate",
        description="Score masks, draw roughly, or click points on surfaces, in a browser on this computer.",
        epilog=_EPILOG,
    )

    from nnunet_weak.annotate.cases.loader import CaseLoader
    from nnunet_weak.annotate.records.states import Session
    from nnunet_weak.annotate.server.http import AnnotationServer
    from nnunet_weak.annotate.server.routes import Annotation
    from nnunet_weak.annotate.study import find_study

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # `kill`, and a terminal that is closed, end it as cleanly as Ctrl-C
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.default_int_handler)
    study = find_study(options)
    session = Session(study.output, study.annotator)
    loader = CaseLoader(study)
    try:
        annotation = Annotation(study, loader)
        server = AnnotationServer(options.port, annotation.routes())
        session.begin(server.url.partition("?")[0])
        try:
            annotation.begin()
            print(f"{len(study.images)} cases. Open {server.url}\nCtrl-C ends it.", flush=True)
            if options.browser:
                threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print(f"\nEnded. Annotations are in {study.output}")
        finally:
            server.server_close()
            session.end()
    finally:
        loader.close()
    return 0
