"""A person's decisions about tags, one a line in a text file; they replay in every build.

    accept fire engine               a tag, whatever the sources say
    accept orange as attribute       the same, and of this kind
    reject thing
    merge sofa into couch
    keep boat apart from ship        whatever the synonym tables say
    # a comment

Names are read without regard to case, hyphens and plural. `as KIND` after any name tells
apart two tags of one name. Decisions that contradict each other stop a build; one about a name
that no source has any more is reported and stays in force.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ram_model.config import KINDS
from ram_model.errors import TextFileError
from ram_model.text_files import read_lines
from ram_ray.errors import ConfigError
from ram_ray.labels.builder.names import BadNameError, clean, fold

_LINE = re.compile(r"(?P<verb>accept|reject|merge|keep)\s+(?P<rest>\S.*)", re.IGNORECASE)
_SPLITS = {"merge": " into ", "keep": " apart from "}


class Named(NamedTuple):
    """A name in a decision."""

    text: str
    """As written, without the kind."""
    kind: str
    """One of the vocabulary's kinds; "" for any."""

    def __str__(self) -> str:
        return f"{self.text} as {self.kind}" if self.kind else self.text


@dataclass(frozen=True, slots=True)
class Decision:
    """One line."""

    verb: str
    """accept, reject, merge or keep."""
    name: Named
    other: Named | None
    """What `name` is merged into, or kept apart from."""
    line: int


def read_decisions(path: str | Path) -> tuple[Decision, ...]:
    """Return the decisions in a file.

    Raises:
        ConfigError: the file cannot be read, a line is no decision, or two contradict each
            other; the message gives every such line.
    """
    try:
        lines = read_lines(path)
    except (OSError, TextFileError) as error:
        raise ConfigError(f"decisions is {str(path)!r}, which cannot be read: {error}.") from error
    decisions: list[Decision] = []
    wrong: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            decisions.append(_parse(line.strip(), number))
        except ValueError as error:
            wrong.append(f"line {number} {error}")
    wrong += _conflicts(decisions)
    if wrong:
        raise ConfigError(f"decisions is {str(path)!r}, where {'; '.join(wrong)}.")
    return tuple(decisions)


def _parse(line: str, number: int) -> Decision:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"({line!r}) begins with none of accept, reject, merge, keep")
    verb, rest = match["verb"].lower(), match["rest"]
    if verb not in _SPLITS:
        return Decision(verb, _named(rest), None, number)
    separator = _SPLITS[verb]
    name, found, other = rest.partition(separator)
    if not found:
        raise ValueError(f"({line!r}) needs {separator.strip()!r} between two names")
    return Decision(verb, _named(name), _named(other), number)


def _named(text: str) -> Named:
    name, found, kind = text.strip().rpartition(" as ")
    if not found or kind.strip().casefold() not in KINDS:
        name, kind = text, ""
    try:
        return Named(clean(name).full, kind.strip().casefold())
    except BadNameError as error:
        raise ValueError(f"{error}") from error


def _conflicts(decisions: Iterable[Decision]) -> Iterator[str]:
    """Yield a sentence for each pair of lines that cannot both hold."""
    fates: dict[tuple[str, str], Decision] = {}
    pairs: dict[frozenset[str], Decision] = {}
    targets: dict[str, Decision] = {}
    for decision in decisions:
        key = (fold(decision.name.text), decision.name.kind)
        if decision.other is not None:
            pair = frozenset((key[0], fold(decision.other.text)))
            if len(pair) == 1:
                yield f"line {decision.line} names {decision.name.text!r} twice"
            earlier = pairs.setdefault(pair, decision)
            if earlier.verb != decision.verb:
                yield f"line {decision.line} contradicts line {earlier.line}"
        if decision.verb == "merge" and decision.other is not None:
            targets.setdefault(fold(decision.other.text), decision)
        if decision.verb != "keep":
            earlier = fates.setdefault(key, decision)
            if (earlier.verb, earlier.other) != (decision.verb, decision.other):
                yield f"line {decision.line} contradicts line {earlier.line}"
    for (text, _), decision in fates.items():
        if decision.verb == "reject" and text in targets:
            line = targets[text].line
            yield f"line {decision.line} rejects what line {line} merges into"
    yield from _cycles(decisions)


def _cycles(decisions: Iterable[Decision]) -> Iterator[str]:
    into = {
        fold(decision.name.text): (fold(decision.other.text), decision.line)
        for decision in decisions
        if decision.verb == "merge" and decision.other is not None
    }
    done: set[str] = set()
    for start in into:
        walked: list[str] = []
        at = start
        while at in into and at not in done and at not in walked:
            walked.append(at)
            at = into[at][0]
        if at in walked and len(walked[walked.index(at) :]) > 1:
            lines = ", ".join(str(into[name][1]) for name in walked[walked.index(at) :])
            yield f"lines {lines} merge in a circle"
        done.update(walked)
