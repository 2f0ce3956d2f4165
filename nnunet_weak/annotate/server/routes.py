"""What the page may ask for, and the answers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import numpy as np

from nnunet_weak import __version__
from nnunet_weak.annotate.cases.decode import DecodedCase
from nnunet_weak.annotate.cases.loader import CaseLoader
from nnunet_weak.annotate.cases.surfaces import region_surface
from nnunet_weak.annotate.cases.survey import SurveyedCase
from nnunet_weak.annotate.cases.views import View, choose_view, view_message
from nnunet_weak.annotate.messages import pack, unpack
from nnunet_weak.annotate.queue import Measures, order_cases, suspicion
from nnunet_weak.annotate.records.states import CaseState, StateFolder
from nnunet_weak.annotate.server.export import dry_run, shown_command
from nnunet_weak.annotate.server.http import Request, RequestError, Route
from nnunet_weak.annotate.study import Study
from nnunet_weak.annotate.tasks import drawings, points, scores
from nnunet_weak.annotate.tasks.agreement import agreement
from nnunet_weak.errors import InvalidInputError

_AHEAD = 2


class Annotation:
    """One annotator's session: answers what the page asks for.

    Args:
        study: What is annotated.
        loader: Reads the cases.
    """

    def __init__(self, study: Study, loader: CaseLoader) -> None:
        self.study, self._loader = study, loader
        self.states = StateFolder(study.output, study.task, study.annotator)
        self._drawings = drawings.DrawingFolder(study.output, study.annotator, len(study.classes))
        self._hashes: dict[str, dict[str, str]] = {}
        self._unreadable: dict[str, str] = {}
        self._measured: dict[str, Measures] = {}
        self._unchecked: set[str] = set()
        self._saving = threading.Lock()

    def begin(self) -> None:
        """Read the first cases and look at the masks for the queue, in the background."""
        self._read_ahead("")
        scored = [case for case in self.study.images if case in self.study.masks and self._has_scores(case)]
        others = [case for case in self._order() if case in self.study.masks] if self.study.order == "worst" else []
        self._unchecked = set(scored)
        if scored or others:
            cases = list(dict.fromkeys([*scored, *others]))
            self._loader.survey(cases, self.study.order == "worst", self._note_survey)

    def routes(self) -> list[Route]:
        """Method, pattern and answer of everything below `/api/`."""
        case = "/api/cases/([^/]+)"
        return [
            ("GET", "/api/study", self._study),
            ("GET", "/api/queue", self._queue),
            ("GET", case, self._case),
            ("GET", f"{case}/view/([a-z0-9-]+)", self._view),
            ("GET", f"{case}/surface/([0-9]{{1,6}})", self._surface),
            ("GET", f"{case}/drawing/([a-z0-9-]+)", self._drawing),
            ("PUT", f"{case}/state", self._save),
            ("POST", f"{case}/copy", self._keep_copy),
            ("POST", f"{case}/suggestion/([a-z0-9-]+)", self._suggest),
            ("POST", "/api/fit", lambda request: points.fit_message(request.json(), self.study.gap_mm)),
            ("GET", "/api/agreement", lambda _: self._agreement()),
            ("GET", "/api/export", lambda _: {"command": shown_command(self.study, self.states)}),
            ("POST", "/api/dry-run", lambda _: self._dry_run()),
        ]

    def _study(self, _: Request) -> dict[str, Any]:
        study = self.study
        return {
            "version": __version__,
            "task": study.task,
            "annotator": study.annotator,
            "folder": str(study.folder),
            "output": str(study.output),
            "regions": study.region_names,
            "classes": study.classes,
        }

    def _queue(self, _: Request) -> list[Any]:
        others = [name for name in self.states.annotators() if name != self.study.annotator]
        rows = []
        for case in self._order():
            state = self.states.read(case)
            rows.append(
                {
                    "case": case,
                    "done": state.done,
                    "started": state.revision > 0,
                    "seconds": state.seconds,
                    "saved_at": state.saved_at,
                    "stale": self._is_stale(state),
                    "unchecked": case in self._unchecked,
                    "problem": self._unreadable.get(case) or self._missing(case),
                    "done_by_others": [name for name in others if self.states.read(case, name).done],
                }
            )
        return rows

    def _case(self, request: Request) -> dict[str, Any]:
        case = self._decoded(request)
        self._read_ahead(case.case)
        state = self.states.read(case.case)
        content = points.points_for_page(state.content) if self.study.task == "points" else state.content
        return {
            **asdict(state),
            "content": content,
            "channels": [self.study.channel_name(number) for number in range(len(self.study.images[case.case]))],
            "regions": [asdict(region) for region in case.regions],
            "whole_shape": case.grid.shape,
            "affine": case.grid.affine.tolist(),
        }

    def _view(self, request: Request) -> bytes:
        case = self._decoded(request)
        view = choose_view(case, request.parts[1])
        channel = self._channel(request.query.get("channel", "0"))
        windows = self._loader.get_channel(case.case, channel)
        return view_message(case, view, windows, channel)

    def _surface(self, request: Request) -> bytes:
        return region_surface(self._decoded(request), int(request.parts[1]))

    def _drawing(self, request: Request) -> bytes:
        case, view = self._drawn_view(request)
        return drawings.compressed(self._drawings.read(case, view))

    def _save(self, request: Request) -> dict[str, Any]:
        name = self._known(request)
        if request.revision is None:
            raise RequestError(HTTPStatus.PRECONDITION_REQUIRED, "If-Match must name a revision")
        try:
            header, blocks = unpack(request.body)
        except (ValueError, IndexError) as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"the body is no message: {error}") from error
        seconds, done, content = header.get("seconds"), header.get("done"), header.get("content")
        if not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e7 or not isinstance(done, bool):
            raise InvalidInputError("state: seconds or done are no such values")
        if not isinstance(content, dict):
            raise InvalidInputError("state: no content")
        with self._saving:
            before = self.states.read(name)
            again = before.revision == request.revision + 1  # a save whose answer got lost, or whose table failed
            if before.revision != request.revision and not again:
                raise _conflict(before)
            checked = self._checked(name, before, content, blocks, again)
            if again and (checked, done) != (before.content, before.done):
                raise _conflict(before)
            state = before
            if not again:
                state = self.states.write(name, request.revision, float(seconds), done, checked)
            self._write_outputs(state)
        return {"revision": state.revision, "saved_at": state.saved_at}

    def _checked(
        self, case: str, before: CaseState, content: dict[str, Any], blocks: list[bytes], again: bool
    ) -> dict[str, Any]:
        """Content to save, after its checks. Drawings are written here: their files are their truth."""
        if self.study.task == "scores":
            return scores.checked_scores(content, self.study, before)
        if self.study.task == "points":
            return points.checked_points(content, self.study)
        if not blocks:
            return before.content
        decoded = self._loader.get(case)
        view = self._full_view(decoded, str(content.get("view")))
        drawn = self._drawings.decoded(view, blocks[0])
        if again:
            saved = self._drawings.read(decoded, view)
            if not all(np.array_equal(drawn[layer], saved[layer]) for layer in drawings.LAYERS):
                raise _conflict(before)
        return {"voxels": self._drawings.write(decoded, view, drawn)}

    def _write_outputs(self, state: CaseState) -> None:
        if self.study.task == "scores":
            scores.write_table(self.study.output, self.states, self.study, self._hashes)
        elif self.study.task == "points":
            folder = self.study.output / "points" / self.study.annotator / state.case
            points.write_point_files(folder, state.content, self.study)

    def _keep_copy(self, request: Request) -> dict[str, Any]:
        path = self.states.write_copy(self._known(request), request.json())
        return {"file": str(path)}

    def _suggest(self, request: Request) -> bytes:
        case, view = self._drawn_view(request)
        wanted = request.json()
        layer, code, axis = wanted.get("layer"), wanted.get("code"), wanted.get("axis")
        if layer not in drawings.LAYERS or not isinstance(code, int) or axis not in (0, 1, 2):
            raise InvalidInputError("suggestion: layer, code or axis are no such values")
        drawn = self._drawings.read(case, view)
        try:
            if wanted.get("kind") == "propagate":
                channel = self._channel(wanted.get("channel", 0))
                self._loader.get_channel(case.case, channel)
                added = drawings.propagate(case, view, drawn, len(self.study.classes), 2 - axis, channel)
            else:
                added = drawings.interpolate(drawn[layer], code, 2 - axis)
        except InvalidInputError as error:  # too little is drawn yet: nothing wrong, and the page says so
            return pack({"failed": str(error)})
        return pack({}, added.tobytes())

    def _agreement(self) -> dict[str, Any]:
        return {"raters": self.states.annotators(), "rows": agreement(self.states, self.study)}

    def _dry_run(self) -> dict[str, Any]:
        status, output, problems = dry_run(self.study, self.states)
        return {"status": status, "output": output, "problems": problems}

    def _known(self, request: Request) -> str:
        name = request.parts[0]
        if name not in self.study.images:
            raise RequestError(HTTPStatus.NOT_FOUND, "no such case")
        return name

    def _decoded(self, request: Request) -> DecodedCase:
        name = self._known(request)
        try:
            case = self._loader.get(name)
        except InvalidInputError as error:
            self._unreadable[name] = str(error)
            raise
        self._unreadable.pop(name, None)
        self._note_hashes(name, {region.name: region.sha256 for region in case.regions})
        return case

    def _channel(self, value: Any) -> int:
        text = str(value)
        if not text.isdecimal() or len(text) > 4:
            raise InvalidInputError(f"channel {text}: is no number")
        return int(text)

    def _drawn_view(self, request: Request) -> tuple[DecodedCase, View]:
        case = self._decoded(request)
        return case, self._full_view(case, request.parts[1])

    def _full_view(self, case: DecodedCase, wanted: str) -> View:
        view = choose_view(case, wanted)
        if view.step > 1:
            raise InvalidInputError("drawings need full resolution: zoom to a place first")
        return view

    def _order(self) -> list[str]:
        worst = suspicion(dict(self._measured)) if self.study.order == "worst" else {}
        return order_cases(list(self.study.images), self.study.order, worst)

    def _read_ahead(self, current: str) -> None:
        waiting = [
            case
            for case in self._order()
            if case != current and not self._missing(case) and not self.states.read(case).done
        ]
        self._loader.prefetch(waiting[:_AHEAD])

    def _missing(self, case: str) -> str:
        needed = self.study.task == "scores" and case not in self.study.masks
        return "no mask of this case was found" if needed else ""

    def _is_stale(self, state: CaseState) -> bool:
        known = self._hashes.get(state.case, {})
        entries = state.content.get("regions", {}) if self.study.task == "scores" else {}
        return any(
            scores.is_complete(entry) and scores.is_stale(entry, known.get(name)) for name, entry in entries.items()
        )

    def _has_scores(self, case: str) -> bool:
        if self.study.task != "scores":
            return False
        return any(self.states.read(case, rater).revision for rater in self.states.annotators())

    def _note_hashes(self, case: str, found: Mapping[str, str]) -> None:
        # A region that has lost all its voxels has no hash, and no score of it is valid any more.
        self._hashes[case] = {name: found.get(name, "") for name in self.study.region_names}
        self._unchecked.discard(case)

    def _note_survey(self, case: str, found: SurveyedCase | None) -> None:
        if found is None:
            self._unchecked.discard(case)
            return
        if found.measures:
            self._measured[case] = found.measures
        checked = case in self._unchecked
        self._note_hashes(case, found.hashes)
        if checked and not self._unchecked and self.study.task == "scores":
            with self._saving, contextlib.suppress(OSError):  # a full disk: the next save writes it
                scores.write_table(self.study.output, self.states, self.study, self._hashes)


def _conflict(current: CaseState) -> RequestError:
    return RequestError(
        HTTPStatus.CONFLICT,
        "This case was changed in another window",
        revision=current.revision,
        saved_at=current.saved_at,
    )
