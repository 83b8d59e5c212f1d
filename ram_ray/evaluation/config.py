"""Settings of `ram-ray evaluate` and `ram-ray calibrate`."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from ram_ray.config import StoreConfig, require

Layout = Literal["jsonl", "parquet", "coco", "openimages", "voc", "lines"]
Unlisted = Literal["absent", "unverified"]
Match = Literal["path", "name", "stem"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelsConfig:
    """Which run, and what people said about its images."""

    output: str
    """What `ram-ray tag --score-floor 0` wrote: a folder or an s3:// prefix."""
    labels: str
    """File or folder of labels; `ram_ray.evaluation.truth` lists the layouts."""
    layout: Layout | None = None
    """How the labels are written; None: told by the name of the file."""
    unlisted: Unlisted | None = None
    """What a tag is that an image's labels do not name; None: as the layout has it."""
    tag_list: str | None = None
    """With RAM's .txt lists: file of all classes, one a line; None: the one published with them,
    where it lies beside."""
    match: Match = "path"
    """How image ids meet: whole paths, file names, or file names without ending."""
    store: StoreConfig = field(default_factory=StoreConfig)

    def __post_init__(self) -> None:
        for name in ("output", "labels"):
            require(bool(getattr(self, name)), name, getattr(self, name), "not empty")
        for name, kind in (("layout", Layout), ("unlisted", Unlisted)):
            value, choices = getattr(self, name), get_args(kind)
            require(value is None or value in choices, name, value, ", ".join(choices))
        require(self.match in get_args(Match), "match", self.match, ", ".join(get_args(Match)))


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationConfig:
    """What thresholds must promise."""

    target_precision: float = 0.9
    """Share of right tags among those given, 0..1."""
    confidence: float = 0.9
    """Of each tag's bound, 0.5..1."""
    least_firings: int = 5
    """A threshold that fires on fewer labelled images is not looked at."""
    allow_empty: bool = False
    """Also write a file in which every tag that the labels name is switched off."""

    def __post_init__(self) -> None:
        target, confidence = self.target_precision, self.confidence
        require(0 < target < 1, "target_precision", target, "between 0 and 1")
        require(0.5 <= confidence < 1, "confidence", confidence, "from 0.5 to below 1")
        require(self.least_firings >= 1, "least_firings", self.least_firings, "at least 1")
