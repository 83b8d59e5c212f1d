"""Flags of the commands: most are made from the fields of settings, where alone they are written.

    @command
    def tag(given: Annotated[Given, fields_of(TagConfig, {"Which tags": "tags caption"})])

gives `ram-ray tag` the flags --tags and --top-k: type, default and help text are those of the
fields of TagConfig. `given` holds what the user gave, by dotted field name; a parameter of type
`Annotated[SomeConfig, fields_of(SomeConfig, ...)]` gets the settings themselves.
"""

import ast
import inspect
import re
import sys
import types
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from ram_ray import exit_codes
from ram_ray.config import StoreConfig, TagChoice
from ram_ray.console.json_output import only_json
from ram_ray.options import build_config

Given = Mapping[str, object]
"""What the user gave of some settings, by dotted field name."""

ExistingOutput = Annotated[
    str, typer.Argument(help="Folder or s3:// prefix that `ram-ray tag` wrote.")
]
ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE.yaml", help="Options from a file; flags win.", show_default=False
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting, e.g. decode.max_image_pixels=50000000; wins over flags; repeatable.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@dataclass(frozen=True, slots=True)
class FieldFlags:
    """Which fields of some settings are flags, in their order."""

    config_class: type
    panels: Mapping[Any, str]
    """Heading in the help to dotted field names, separated by spaces; None: no heading."""
    required: tuple[str, ...] = ()
    """Fields that only a flag can give."""

    def parameters(self) -> dict[str, inspect.Parameter]:
        """Return a command's parameters by dotted field name."""
        paths = [(panel, path) for panel, names in self.panels.items() for path in names.split()]
        flag_names = {path.rpartition(".")[2]: self._flag(path) for _, path in paths}
        return {path: self._parameter(path, panel, flag_names) for panel, path in paths}

    def _flag(self, path: str) -> str:
        name = path.rpartition(".")[2]
        told = _field(self.config_class, path)[0].metadata.get("flag")
        return told or f"--{name.replace('_', '-')}"

    def _parameter(
        self, path: str, panel: str | None, flag_names: Mapping[str, str]
    ) -> inspect.Parameter:
        field, hint, documented = _field(self.config_class, path)
        told = field.metadata
        kind, repeatable, choices = _kind(hint, as_text=bool(told.get("as_text")))
        values = (choices or "").split("|")
        other_flags = {name: flag for name, flag in flag_names.items() if name not in values}
        flag = self._flag(path)
        if kind is bool and field.default is not False:
            flag = f"{flag}/--no-{flag.removeprefix('--')}"
        low, high = told.get("bounds") or (None, None)
        option = typer.Option(
            flag,
            help=_help(documented, field, other_flags, repeatable=repeatable),
            metavar=told.get("metavar") or choices,
            rich_help_panel=panel,
            min=low,
            max=high,
            show_default=False,
        )
        needed = path in self.required
        kind = list[kind] if repeatable else kind
        return inspect.Parameter(
            path.replace(".", "__"),
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if needed else None,
            annotation=Annotated[kind if needed else kind | None, option],
        )


def fields_of(
    config_class: type, panels: Mapping[Any, str], *, required: tuple[str, ...] = ()
) -> FieldFlags:
    """Return the mark of a `Given` parameter: which fields of the settings are its flags."""
    return FieldFlags(config_class, panels, required)


_ONLY_BY_SET = {"open_set_threshold", "threshold_file", "caption_beams"}
_ASKED = [one.name for one in fields(TagChoice) if one.name not in _ONLY_BY_SET]
TAG = {
    "Which tags": f"{' '.join(_ASKED)} max_error_rate",
    "Which images": "include exclude uri_column image_column id_column "
    "store.endpoint_url store.region store.anonymous store.private_addresses "
    "decode.orientation decode.wide_grey decode.formats",
    "Resources": "shard_rows batch_size device precision num_taggers num_decoders "
    "gpus_per_tagger address",
}
"""Flags of `ram-ray tag`, fields of TagConfig."""
STORE = {"Which images": "endpoint_url region anonymous"}
Store = Annotated[StoreConfig, fields_of(StoreConfig, STORE)]
"""The store of a command that reads an OUTPUT."""


def named(**values: object) -> dict[str, object]:
    """Return the arguments that were given."""
    return {name: value for name, value in values.items() if value not in (None, (), [])}


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Return a function as a command: settings are flags, errors are exit codes.

    The function returns its exit code, or None for 0; `--debug` is added.
    """
    groups: dict[str, tuple[Any, dict[str, inspect.Parameter]]] = {}
    shown: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        marks = getattr(parameter.annotation, "__metadata__", ())
        if marks and isinstance(marks[0], FieldFlags):
            parameters = marks[0].parameters()
            groups[parameter.name] = (get_args(parameter.annotation)[0], parameters)
            shown += parameters.values()
        else:
            shown.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    shown.append(
        inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Debug)
    )

    @wraps(function)
    def run(*, debug: bool, **values: Any) -> None:
        with exit_codes.exit_on_error(debug=debug):
            for name, (kind, parameters) in groups.items():
                given = named(**{path: values.pop(one.name) for path, one in parameters.items()})
                values[name] = given if kind is Given else build_config(kind, given)
            with only_json() if values.get("as_json") else nullcontext():
                code = function(**values)
        raise typer.Exit(code or exit_codes.DONE)

    run.__signature__ = inspect.Signature(shown)  # pyright: ignore[reportAttributeAccessIssue]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    del run.__wrapped__  # typer would read the flags of the function itself
    return run


def _field(config_class: type, path: str) -> tuple[Field[Any], Any, str]:
    """Return a field of the settings, its type and its docstring."""
    head, _, tail = path.partition(".")
    hint = _hints(config_class)[head]
    if tail:
        assert is_dataclass(hint), path
        return _field(hint, tail)  # pyright: ignore[reportArgumentType]
    (found,) = (one for one in fields(config_class) if one.name == head)
    return found, hint, field_docstrings(config_class).get(head, "")


def field_docstrings(config_class: type) -> dict[str, str]:
    """Return the text below each field of a settings class, those that it inherits included."""
    found: dict[str, str] = {}
    for part in reversed(config_class.__mro__):
        if is_dataclass(part):
            found |= _docstrings_of(part.__module__).get(part.__name__, {})
    return found


@cache
def _docstrings_of(module: str) -> dict[str, dict[str, str]]:
    """Return the texts below the fields of each class of a module, from its source."""
    path = sys.modules[module].__file__
    assert path is not None, module
    found: dict[str, dict[str, str]] = {}
    for class_node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        if not isinstance(class_node, ast.ClassDef):
            continue
        texts = found.setdefault(class_node.name, {})
        for node, below in zip(class_node.body, class_node.body[1:], strict=False):
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                texts[node.target.id] = " ".join(str(below.value.value).split())
    return found


_hints = cache(get_type_hints)


def _kind(hint: Any, *, as_text: bool) -> tuple[Any, bool, str | None]:
    """Return what typer reads, whether the flag is repeatable, and its values where few."""
    if get_origin(hint) in (Union, types.UnionType):
        hints = [one for one in get_args(hint) if one is not type(None)]
        if len(hints) > 1:  # several lists of choices
            hint = Literal[*(value for one in hints for value in get_args(one))]
        else:
            (hint,) = hints
    if as_text or hint is Path:
        return str, False, None
    if get_origin(hint) is Literal:
        return str, False, "|".join(get_args(hint))
    if get_origin(hint) is tuple:
        one = get_args(hint)[0]
        if get_origin(one) is Literal:
            return str, True, "|".join(get_args(one))
        return (str if is_dataclass(one) else one), True, None
    return hint, False, None


def _help(
    documented: str, field: Field[Any], flag_names: Mapping[str, str], *, repeatable: bool
) -> str:
    """Return the docstring as a help text, and what holds where the flag is not given."""
    text, _, otherwise = documented.rstrip(".").partition("; None: ")
    if not otherwise:
        text, _, otherwise = text.partition("; (): ")
    otherwise = otherwise or _shown(field.default)
    text += f" (default: {otherwise})" if otherwise else ""
    text = re.sub(r"`(\w+)`", lambda match: f"`{flag_names.get(match[1], match[1])}`", text)
    return text.replace("[", r"\[") + ("; repeatable." if repeatable else ".")


def _shown(default: object) -> str:
    if default is MISSING or default is None or default is False or default == ():
        return ""
    if default is True:
        return "yes"
    if isinstance(default, tuple):
        return ", ".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)
