"""Options of a run: a YAML file, then flags, then `--set key=value`; the later one wins."""

import difflib
import os
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ram_model.errors import TextFileError
from ram_model.text_files import read_lines, read_text
from ram_ray.errors import ConfigError

ConfigT = TypeVar("ConfigT")

# Keys that mean the same setting: a layer that gives one overrides the other of the layers below.
_ALTERNATIVES = (("threshold", "threshold_file"),)


def merge_settings(
    flags: Mapping[str, object], *, config_file: str | None = None, settings: Iterable[str] = ()
) -> dict[str, object]:
    """Return the settings of one run by dotted field name; nothing is validated yet.

    Args:
        flags: dotted field name (`store.region`) to value, as given on the command line.
        config_file: YAML file with the fields of TagConfig; `store` and `decode` are sections.
        settings: `key=value` texts, dotted keys.

    Raises:
        ConfigError: the file or a text cannot be read.
    """
    layers = [_read_yaml(config_file)] if config_file else []
    layers += [dict(flags), _parse_settings(settings)]
    merged: dict[str, object] = {}
    for layer in layers:
        layer = _with_tags_and_threshold(layer)
        for names in _ALTERNATIVES:
            if any(layer.get(name) is not None for name in names):
                merged = {key: value for key, value in merged.items() if key not in names}
        merged |= layer
    return merged


def build_config(
    config_class: type[ConfigT], flat: Mapping[str, object], prefix: str = ""
) -> ConfigT:
    """Return a settings dataclass from values by dotted field name, each checked for its type.

    Raises:
        ConfigError: unknown or missing key, wrong type or value; names the key and what is allowed.
    """
    hints = get_type_hints(config_class)
    hints = {name: hints[name] for name in (*config_class.__annotations__, *hints)}  # own first
    sections = {name for name, hint in hints.items() if is_dataclass(hint)}
    values: dict[str, object] = {}
    nested: dict[str, dict[str, object]] = {}
    for key, value in flat.items():
        head, _, tail = key.partition(".")
        if head in sections and tail:
            nested.setdefault(head, {})[tail] = value
        elif head in hints and head not in sections and not tail:
            values[head] = _typed(prefix + key, value, hints[head])
        else:
            raise _unknown_key(prefix + key, prefix, hints, sections)
    for head, section in nested.items():
        values[head] = build_config(hints[head], section, f"{prefix}{head}.")
    for field in fields(config_class):  # pyright: ignore[reportArgumentType]
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and field.name not in values:
            raise ConfigError(f"{prefix}{field.name} is missing.")
    return config_class(**values)


def parse_tags(text: str) -> tuple[str, ...]:
    """Return the tags of `"cat, dog"`, or of a text file with one tag a line."""
    path = Path(text)
    if os.path.isfile(path):  # Path.is_file() fails on a list longer than a file's name may be
        try:
            lines = read_lines(path)
        except (OSError, TextFileError) as error:
            raise ConfigError(f"tags cannot be read: {error}.") from error
        return tuple(line.strip() for line in lines if line.strip())
    if "," not in text and (path.suffix == ".txt" or "/" in text):
        raise ConfigError(
            f"tags is {text!r}, but there is no such file; "
            "give tags separated by commas or a text file with one tag a line."
        )
    return tuple(tag.strip() for tag in text.split(",") if tag.strip())


def parse_threshold(text: str) -> dict[str, object]:
    """Return {"threshold": number} or {"threshold_file": path}; the other one is left out."""
    try:
        return {"threshold": float(text)}
    except ValueError:
        if os.path.isfile(text):
            return {"threshold_file": text}
    raise ConfigError(
        f"threshold is {text!r}, but must be a number between 0 and 1 or a file with one a line."
    )


def read_threshold_file(path: str) -> tuple[float, ...]:
    """Return the numbers of a threshold file, in tag order.

    Raises:
        ConfigError: it cannot be read, or holds something else than numbers.
    """
    try:
        return tuple(float(line) for line in read_text(path).split())
    except (OSError, ValueError) as error:
        raise ConfigError(f"threshold_file {path} cannot be read: {error}.") from error


def _with_tags_and_threshold(layer: dict[str, object]) -> dict[str, object]:
    layer = dict(layer)
    if isinstance(tags := layer.get("tags"), str):
        layer["tags"] = parse_tags(tags)
    if isinstance(threshold := layer.get("threshold"), str):
        del layer["threshold"]
        layer |= parse_threshold(threshold)
    return layer


def _read_yaml(config_file: str) -> dict[str, object]:
    try:
        loaded = yaml.safe_load(read_text(config_file))
    except (OSError, TextFileError) as error:
        raise ConfigError(f"The options file {config_file} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            f"The options file {config_file} is not valid YAML: {problem}."
        ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"The options file {config_file} must hold `option: value` lines.")
    return flatten_settings(loaded)


def flatten_settings(section: Mapping[Any, object], prefix: str = "") -> dict[str, object]:
    """Return nested settings, as YAML has them, by dotted field name."""
    flat: dict[str, object] = {}
    for key, value in section.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten_settings(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def _parse_settings(settings: Iterable[str]) -> dict[str, object]:
    parsed: dict[str, object] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set is {setting!r}, but must be key=value.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        # Numbers and words keep their spelling where the field is a text (model=007).
        plain = isinstance(value, str | list | None)
        parsed[key.strip()] = value if plain else _Spelled(value, text)
    return parsed


class _Spelled:
    """A value from `--set`, with the text it was written as."""

    def __init__(self, value: object, text: str) -> None:
        self.value = value
        self.text = text


def _unknown_key(
    key: str, prefix: str, hints: Mapping[str, object], sections: set[str]
) -> ConfigError:
    if key in sections:
        inside = ", ".join(f"{key}.{name}" for name in get_type_hints(hints[key]))
        return ConfigError(f"{key} is a group of options; set one of them: {inside}.")
    known = [prefix + name for name in hints if name not in sections]
    if not prefix:
        for section in sorted(sections):
            known += [f"{section}.{name}" for name in get_type_hints(hints[section])]
    # `region` is found as `store.region`, a typing error by likeness.
    close = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    close += [name for name in difflib.get_close_matches(key, known, n=3) if name not in close]
    hint = f"did you mean {' or '.join(close[:3])}?" if close else f"known: {', '.join(known)}."
    return ConfigError(f"There is no option {key}; {hint}")


def _typed(name: str, value: object, hint: Any) -> object:
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if isinstance(value, _Spelled):
        value = value.text if str in choices else value.value
    if value is None:
        if type(None) in choices:
            return None
        raise ConfigError(f"{name} is empty, but must be {_describe(hint)}.")
    for choice in choices:
        converted = _converted(value, choice)
        if converted is not None:
            return converted
    raise ConfigError(f"{name} is {value!r}, but must be {_describe(hint)}.")


def _converted(value: object, kind: Any) -> object | None:
    """Return `value` as `kind`, or None where it is no such thing."""
    if get_origin(kind) is tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            return None
        parts = [_converted(part, get_args(kind)[0]) for part in value]
        return None if None in parts else tuple(parts)
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else None
    if isinstance(value, bool) or kind is bool:
        return value if kind is bool and isinstance(value, bool) else None
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float:
        return _as_float(value)
    return value if isinstance(kind, type) and isinstance(value, kind) else None


def _as_float(value: object) -> float | None:
    if isinstance(value, int | float | str):
        try:
            return float(value)  # also a text: YAML reads 1e-3 as one
        except ValueError:
            return None
    return None


def _describe(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_describe(choice) for choice in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    if get_origin(hint) is tuple:
        one = get_args(hint)[0]
        return {str: "a list of texts", float: "a list of numbers"}.get(one, "a list")
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        type(None): "null",
    }
    return words.get(hint, str(hint))
