"""Settings of a build of the label system."""

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from ram_model.config import KINDS
from ram_model.errors import TextFileError
from ram_model.text_files import read_text
from ram_ray.config import CaptionTables, option, require
from ram_ray.errors import ConfigError
from ram_ray.options import build_config


@dataclass(frozen=True, kw_only=True, slots=True)
class ListConfig:
    """One list of tags to build from."""

    path: str
    name: str = ""
    """What reports call it; "": the file's stem."""
    kind: str = ""
    """object, scene, attribute or action, of entries without one; "": told by the word."""
    cover: bool = True
    """Whether every entry becomes a tag; if not, the list only speaks for what others name."""

    def __post_init__(self) -> None:
        require(bool(self.path), "list.path", self.path, "not empty")
        require(self.kind in ("", *KINDS), "list.kind", self.kind, ", ".join(KINDS))


@dataclass(frozen=True, kw_only=True)
class BuildConfig(CaptionTables):
    """`ram-ray labels build`: from which sources, by which rules, where to."""

    output: str
    """Folder; made when missing. Its vocabulary.parquet gives the ids that a rebuild keeps."""
    captions: tuple[str, ...] = option((), metavar="PATH")
    """A file or folder of captions."""
    lists: tuple[ListConfig, ...] = option((), flag="--list", metavar="FILE")
    """A list of tags: FILE[,name=NAME][,kind=object|scene|attribute|action][,cover=no]; with
    cover=no it speaks only for words that other sources name."""
    decisions: str | None = option(None, metavar="FILE")
    """Your decisions; None: OUTPUT/decisions.txt where there is one."""
    min_frequency: int = 5
    """Captions that must say a word that no list has; twice that for attributes and actions, whose
    words are vaguer."""
    max_tags: int | None = None
    """Keep the best this many; None: all that the rules keep."""
    threshold: float = 0.65
    """Of every new tag until it is calibrated, 0..1; RAM's commonest."""
    text_encoder: str | None = option(None, metavar="PATH")
    """CLIP text tower: propose near neighbours as merges."""

    def __post_init__(self) -> None:
        CaptionTables.__post_init__(self)
        require(bool(self.output), "output", self.output, "not empty")
        sources = (*self.captions, *self.lists)
        require(bool(sources), "captions and lists", sources, "at least one source")
        require(self.min_frequency >= 1, "min_frequency", self.min_frequency, "at least 1")
        enough = self.max_tags is None or self.max_tags >= 1
        require(enough, "max_tags", self.max_tags, "at least 1")
        require(0 <= self.threshold <= 1, "threshold", self.threshold, "between 0 and 1")


def load_build_config(
    given: Mapping[str, object], *, config_file: str | None = None
) -> BuildConfig:
    """Return the config of a YAML file and of flags, which win; None in `given` is not given.

    In the file `lists` holds texts as `list_config` takes them, or fields of `ListConfig`.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or wrong.
    """
    settings = _read_yaml(config_file) if config_file else {}
    settings |= {name: value for name, value in given.items() if value is not None}
    lists = settings.pop("lists", ())
    if not isinstance(lists, list | tuple):
        raise ConfigError(f"lists is {lists!r}, but must be a list of files.")
    settings["lists"] = tuple(list_config(one) for one in lists)
    captions = settings.get("captions", ())
    settings["captions"] = (captions,) if isinstance(captions, str) else tuple(captions)  # pyright: ignore[reportArgumentType]
    return build_config(BuildConfig, settings)


def list_config(given: object) -> ListConfig:
    """Return the list of `FILE,kind=attribute,name=x,cover=no`, or of a mapping of its fields.

    Raises:
        ConfigError: an unknown or wrong setting.
    """
    if isinstance(given, ListConfig):
        return given
    if isinstance(given, str):
        path, *options = given.split(",")
        fields: dict[str, object] = {"path": path}
        for option in options:
            key, found, value = option.partition("=")
            if not found:
                raise ConfigError(f"list is {given!r}, but {option!r} is not `setting=value`.")
            fields[key.strip()] = value.strip()
        if fields.get("cover") in ("yes", "no"):
            fields["cover"] = fields["cover"] == "yes"
    elif isinstance(given, dict):
        fields = given
    else:
        raise ConfigError(f"list is {given!r}, but must be a file, or settings with its path.")
    return build_config(ListConfig, fields)


def _read_yaml(config_file: str) -> dict[str, object]:
    try:
        loaded = yaml.safe_load(read_text(config_file))
    except (OSError, TextFileError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"config is {config_file!r}, which cannot be read: {problem}.") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"config is {config_file!r}, but must hold `setting: value` lines.")
    return loaded
