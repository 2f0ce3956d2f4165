"""Collects all input errors and reports them together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar

MOST_LISTED = 200
"""Problems that a message lists; those beyond are counted."""

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text for a terminal: characters that would control it, turn the direction of writing, or are none, as escapes."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class InvalidInputError(ValueError):
    """One or more problems of the user's input.

    Args:
        problems: One sentence or two each: file, case and field, what is wrong, what was given, the remedy.
        subject: What was being checked, for the headline.

    Attributes:
        problems: The same, as a tuple.
    """

    def __init__(self, problems: Sequence[str] | str, subject: str = "") -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        self.subject = subject
        super().__init__(self._text())

    def _text(self) -> str:
        if not self.subject and len(self.problems) == 1:
            return printable(self.problems[0])
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        headline = f"{self.subject}: {count}" if self.subject else count
        lines = [f"  - {problem}" for problem in self.problems[:MOST_LISTED]]
        if len(self.problems) > MOST_LISTED:
            lines.append(f"  and {len(self.problems) - MOST_LISTED} more")
        return printable("\n".join([headline, *lines]))

    def __reduce__(self) -> tuple[type[InvalidInputError], tuple[tuple[str, ...], str]]:
        return type(self), (self.problems, self.subject)  # as the default one loses the arguments between processes


class Problems:
    """Collects problems and raises them together.

    Example:
        >>> problems = Problems()
        >>> problems.add("case_07", "quality 6 is outside 0..5", "correct the score, or state the scale")
        >>> len(problems)
        1
    """

    def __init__(self) -> None:
        self._found: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def add(self, where: str, what: str, remedy: str = "") -> None:
        """Note one problem. `where` names file, case or field; `remedy` says what to do."""
        self._found.append(f"{where}: {what}" + (f" (remedy: {remedy})" if remedy else ""))

    def extend(self, error: InvalidInputError, case: str = "") -> None:
        """Add the problems of an error once each, with the name of the case in front where they do not hold it."""
        for problem in error.problems:
            text = problem if case in problem else f"{case}: {problem}"
            if text not in self._found:
                self._found.append(text)

    def attempt(
        self, step: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result | None:
        """Call a function: its result, or None where it raised `InvalidInputError`, whose problems are added."""
        try:
            return step(*args, **kwargs)
        except InvalidInputError as error:
            self.extend(error)
            return None

    def raise_if_any(self, subject: str = "") -> None:
        """Raise `InvalidInputError` with everything found so far, if anything was."""
        if self._found:
            raise InvalidInputError(self._found, subject)
