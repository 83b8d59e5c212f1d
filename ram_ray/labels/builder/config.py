"""Settings of a build of the label system."""

from dataclasses import dataclass

from ram_model.vocabulary import KINDS
from ram_ray.config import require


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


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """`ram-ray labels build`: from which sources, by which rules, where to."""

    output: str
    """Folder; made when missing. Its vocabulary.parquet gives the ids that a rebuild keeps."""
    captions: tuple[str, ...] = ()
    """Files or folders of captions."""
    lists: tuple[ListConfig, ...] = ()
    decisions: str | None = None
    """A person's decisions; None: OUTPUT/decisions.txt where there is one."""
    min_frequency: int = 5
    """Captions that must say a word for it to be a tag without a list; twice that for attributes
    and actions, whose words are vaguer."""
    max_tags: int | None = None
    """Keep the best this many; None: all that the rules keep."""
    threshold: float = 0.65
    """Of every new tag until it is calibrated, 0..1; RAM's commonest."""
    text_encoder: str | None = None
    """CLIP text tower (folder or weights) whose neighbours are proposed as merges; None: none."""

    def __post_init__(self) -> None:
        require(bool(self.output), "output", self.output, "not empty")
        sources = (*self.captions, *self.lists)
        require(bool(sources), "captions and lists", sources, "at least one source")
        require(self.min_frequency >= 1, "min_frequency", self.min_frequency, "at least 1")
        enough = self.max_tags is None or self.max_tags >= 1
        require(enough, "max_tags", self.max_tags, "at least 1")
        require(0 <= self.threshold <= 1, "threshold", self.threshold, "between 0 and 1")
