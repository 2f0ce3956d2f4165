"""Command-line options declared once: the fields of a dataclass make the parser, its help, and the record of a run.

```python
@dataclass(frozen=True, kw_only=True)
class Smoothing:
    images: Path = option(metavar="DIR", help="folder of images")
    sigma_mm: float = option(default=1.0, help="width of the Gaussian (default: %(default)s)")

options = parse(Smoothing, argv, prog="smooth", description="Smooth images.")
```
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, field, fields
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from nnunet_weak.errors import InvalidInputError, Problems

Options = TypeVar("Options")

RUN = "running"
"""Group of options about how a command runs; the last in its help."""


def option(
    *flags: str,
    help: str,
    default: Any = MISSING,
    group: str = "options",
    read: Callable[[Any], Any] | None = None,
    recorded: bool = True,
    positional: bool = False,
    **argument: Any,
) -> Any:
    """Declare a field of an options dataclass.

    The flag is the field's name. A `bool` becomes a switch, a `Literal` a choice, a tuple several values.

    Args:
        flags: Further flags, such as `-d`; or all of them, if one begins with `--`.
        help: Help text; `%(default)s` is replaced as argparse does.
        default: Value where the option is not given; an option without is required.
        group: Heading in the help.
        read: Makes the field's value of the text (of the list of texts, with `nargs` or `action`); raises
            `InvalidInputError`. Not called for the default.
        positional: Whether the value is given without a flag.
        recorded: Whether the option belongs to the record of a run: it decides what is written.
        **argument: Further arguments of `argparse.ArgumentParser.add_argument`.
    """
    metadata = {
        "flags": flags,
        "positional": positional,
        "group": group,
        "read": read,
        "recorded": recorded,
        "argument": argument,
        "help": help,
    }
    if default in (dict, list):
        return field(default_factory=default, kw_only=True, metadata=metadata)
    return field(default=default, kw_only=True, metadata=metadata)


def processes_option(**settings: Any) -> Any:
    """Declare the field `processes: int | None`; None takes all cores."""
    return option(
        "-np",
        default=None,
        read=partial(read_count, "-np"),
        recorded=False,
        metavar="N",
        help="number of processes (default: all cores)",
        **{"group": RUN, **settings},
    )


def read_count(option_name: str, text: str, *, least: int = 1, most: int = 999_999_999) -> int:
    """Read a whole number from `least` to `most`.

    Raises:
        InvalidInputError: It is none.
    """
    if not text.isdecimal() or not 1 <= len(text) <= 9 or not least <= int(text) <= most:
        limit = f"{least}" + (f" to {most}" if most < 999_999_999 else "")
        raise InvalidInputError(f"{option_name} {text}: is not a whole number from {limit} (remedy: give one)")
    return int(text)


def read_number(
    option_name: str, text: str, *, least: float = 0.0, most: float = math.inf, above: bool = False
) -> float:
    """Read a finite number from `least` to `most`; or above `least`.

    Raises:
        InvalidInputError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not least <= value <= most or (above and value == least):
        limit = f"a number {'above' if above else 'from'} {least:g}" + (f" to {most:g}" if most < math.inf else "")
        raise InvalidInputError(f"{option_name} {text}: is not {limit} (remedy: give one)")
    return value


def parser_of(kind: type, **parser: Any) -> argparse.ArgumentParser:
    """Make the parser of an options dataclass; `parser` goes to `argparse.ArgumentParser`."""
    made = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, **parser)
    groups = {"options": made._optionals}  # argparse's own, which holds --help
    types = get_type_hints(kind)
    for entry in sorted(fields(kind), key=lambda entry: entry.metadata["group"] == RUN):
        declared = entry.metadata
        flags = declared["flags"]
        required: dict[str, Any] = {"default": argparse.SUPPRESS}
        if entry.default is MISSING and entry.default_factory is MISSING:
            required = {} if declared["positional"] else {"required": True}
        if declared["positional"]:
            flags = (entry.name,)
        else:
            required["dest"] = entry.name
            if not any(flag.startswith("--") for flag in flags):
                flags = (*flags, "--" + entry.name.replace("_", "-"))
        title = declared["group"]
        if title not in groups:
            groups[title] = made.add_argument_group(title)
        groups[title].add_argument(
            *flags,
            **{
                "help": declared["help"].replace("%(default)s", str(entry.default)),
                **required,
                **_settings_of(types[entry.name], entry.default, declared["read"]),
                **declared["argument"],
            },
        )
    return made


def parse(kind: type[Options], argv: Sequence[str] | None, **parser: Any) -> Options:
    """Read a command line into an options dataclass.

    Raises:
        InvalidInputError: All values that `read` functions refuse, or what the dataclass itself refuses.
    """
    return _read(kind, parser_of(kind, **parser), argv)


def arguments_of(kind: type, values: Mapping[str, Any]) -> list[str]:
    """Write the values of fields, as given in Python, as the arguments of a command line.

    Mappings become `NAME=VALUE` texts, several values of a name are joined by commas, and fields that are None are left
    out.

    Raises:
        InvalidInputError: Names that are no fields.
    """
    actions = {action.dest: action for action in parser_of(kind)._actions if action.dest != "help"}
    unknown = sorted(set(values) - set(actions))
    if unknown:
        raise InvalidInputError(f"no such options: {', '.join(unknown)} (allowed are {', '.join(actions)})")
    arguments: list[str] = []
    for name, value in values.items():
        action = actions[name]
        flag = next(text for text in action.option_strings if text.startswith("--"))
        texts = [] if value is None else texts_of(value)
        if action.nargs == 0:
            arguments += [flag] if bool(value) == action.const and value is not None else []
        elif isinstance(action, argparse._AppendAction):
            arguments += [f"{flag}={text}" for text in texts]
        elif action.nargs is None:
            arguments += [f"{flag}={','.join(texts)}"] if texts else []
        else:
            arguments += [flag, *texts] if texts else []
    return arguments


def options_from(kind: type[Options], prog: str, values: Mapping[str, Any]) -> tuple[Options, list[str]]:
    """Read values given in Python as the command of the same options would read them.

    Args:
        kind: The options dataclass.
        prog: Name of the command, for messages.
        values: Values of fields, see `arguments_of`.

    Returns:
        The options, and the command line that says the same.

    Raises:
        InvalidInputError: What the command would refuse.
    """
    arguments = arguments_of(kind, values)

    def refuse(message: str) -> NoReturn:
        raise InvalidInputError(f"{prog}: {message}")

    parser = parser_of(kind, prog=prog)
    parser.error = refuse  # type: ignore[method-assign]  # argparse's own ends the process
    return _read(kind, parser, arguments), [prog, *arguments]


def _read(kind: type[Options], parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> Options:
    given = vars(parser.parse_args(argv))
    problems = Problems()
    for entry in fields(kind):  # type: ignore[arg-type]
        if entry.name in given:
            value, read = given[entry.name], entry.metadata["read"]
            value = value if read is None else problems.attempt(read, value)
            given[entry.name] = tuple(value) if isinstance(value, list) else value
    problems.raise_if_any()
    return kind(**given)


def record_of(options: Any) -> dict[str, Any]:
    """Options that decide what is written, as JSON; of absolute paths their last part, which tells of no machine."""
    recorded = {entry.name for entry in fields(options) if entry.metadata.get("recorded", True)}
    return {
        name: _without_folders(value)
        for name, value in asdict(options).items()
        if value is not None and name in recorded
    }


def shorten_path(argument: str) -> str:
    """Remove the folders of an absolute path from a command's argument, as they tell of a machine and its owner."""
    return "=".join(Path(part).name if os.path.isabs(part) else part for part in argument.split("="))


def read_assignments(option_name: str, texts: Sequence[str], form: str) -> dict[str, str]:
    """Read `NAME=VALUE` texts; a text without `=` has the value "".

    Args:
        option_name: The option, for messages.
        texts: Its values.
        form: What a value must look like, for messages.

    Raises:
        InvalidInputError: A name that is empty or given twice.
    """
    problems = Problems()
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if not name:
            problems.add(f"{option_name} {text}", f"is not {form}")
        elif name in found:
            problems.add(f"{option_name} {text}", f"{name} is {found[name] or 'given'} already", "give each name once")
        else:
            found[name] = value
    problems.raise_if_any()
    return found


def texts_of(value: Any) -> list[str]:
    """The texts that stand on a command line for a value given in Python, see `arguments_of`."""
    if isinstance(value, Mapping):
        return [f"{name}={','.join(texts_of(entry))}" if entry != "" else str(name) for name, entry in value.items()]
    if isinstance(value, (str, os.PathLike)) or not isinstance(value, Iterable):
        return [os.fspath(value) if isinstance(value, os.PathLike) else str(value)]
    return [text for entry in value for text in texts_of(entry)]


def _settings_of(annotation: Any, default: Any, read: object) -> dict[str, Any]:
    """Arguments of `add_argument` that follow from a field's type."""
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    if NoneType in get_args(annotation) and len(kinds) == 1:
        annotation = kinds[0]
    if annotation is bool:
        return {"action": "store_false" if default is True else "store_true"}
    if get_origin(annotation) is Literal:
        return {"choices": get_args(annotation)}
    if get_origin(annotation) is tuple:
        return {"nargs": "+", "type": str if read else get_args(annotation)[0]}
    return {"type": str if read or not callable(annotation) else annotation}


def _without_folders(value: Any) -> Any:
    if isinstance(value, Path):
        return shorten_path(str(value))
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    return [_without_folders(item) for item in value] if isinstance(value, (list, tuple)) else value
