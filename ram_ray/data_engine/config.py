"""Settings of an engine run: frozen, validated before any work."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from ram_model.config import KINDS
from ram_ray.config import (
    CaptionTables,
    DecodeConfig,
    Fetching,
    Recorded,
    Resources,
    Tolerance,
    option,
    require,
    require_at_least_one,
    require_share,
)
from ram_ray.options import build_config, merge_settings

STEPS = ("parse", "generate", "locate", "cluster", "filter", "report")
"""In their order."""
TABLE_STEPS = ("parse", "look", "locate", "generate", "cluster")
"""Steps whose tables may come from elsewhere."""
LocatorKind = Literal["windows", "onnx", "grounding-dino"]


Cut = Literal["adaptive", "share"]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ClusterConfig(Recorded):
    """How to cluster and where to cut."""

    num_clusters: int = 3
    """Looks that a tag may have; the paper does not say how many."""
    min_regions: int = 30
    """A tag with fewer regions in the sample is not judged."""
    sample_per_tag: int = 2_000
    """Most regions of a tag that the fit looks at, drawn by `seed`."""
    cut: Cut = "adaptive"
    """`adaptive`: robust z-score above `outlier_z`; `share`: the farthest `outlier_share`."""
    outlier_z: float = 3.0
    """For `adaptive`, in standard deviations of a tag's usual distance."""
    outlier_share: float = 0.1
    """For `share`; RAM's is 0.1."""
    iterations: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_clusters", "min_regions", "sample_per_tag", "iterations"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.cut in ("adaptive", "share"), "cut", self.cut, "adaptive or share")
        require(self.outlier_z > 0, "outlier_z", self.outlier_z, "above 0")
        share = self.outlier_share
        require(0 < share < 1, "outlier_share", share, "between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class WindowConfig(Recorded):
    """Which windows."""

    scales: tuple[float, ...] = (0.6, 0.4)
    """Sides of the windows as shares of the image's, each above 0 and at most 1."""
    overlap: float = 0.5
    """Least share of its side that a window has in common with the next, 0 to below 1."""
    min_score: float = 0.05
    """A tag scored lower in every window is not found, 0..1."""
    regions_per_tag: int = 1
    """Most windows per tag, best first."""

    def __post_init__(self) -> None:
        ok = bool(self.scales) and all(0 < scale <= 1 for scale in self.scales)
        require(ok, "scales", self.scales, "shares above 0 and at most 1")
        require(0 <= self.overlap < 1, "overlap", self.overlap, "from 0 to below 1")
        require(0 <= self.min_score <= 1, "min_score", self.min_score, "between 0 and 1")
        require(self.regions_per_tag >= 1, "regions_per_tag", self.regions_per_tag, "at least 1")


Rule = Literal["improbable", "region_contradiction", "cluster_outlier", "caption_mismatch"]
RULES: tuple[Rule, ...] = get_args(Rule)
Policy = Literal["judge", "keep"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class FilterConfig(Recorded):
    """How much may be removed, by which rules, of which tags."""

    rules: tuple[Rule, ...] = RULES
    """Evidence to use; one alone is that rule as an arm of its own."""
    min_precision: float = 0.5
    """Least share of wrong tags among the removed, 0..1, promised with its 95 % bound."""
    max_over_removal: float = 0.07
    """Greatest share of right tags that are removed, 0..1, promised with its 95 % bound."""
    policy: Mapping[str, Policy] = field(default_factory=lambda: dict.fromkeys(KINDS, "judge"))
    """Per kind, for tags that nothing localises: `judge` by the other evidence, or `keep`."""
    penalty: float = 1.0
    """L2 penalty of the regression, on standardised evidence."""

    def __post_init__(self) -> None:
        require(bool(self.rules), "rules", self.rules, "at least one rule")
        unknown = sorted(set(self.rules) - set(RULES))
        require(not unknown, "rules", unknown, f"of {', '.join(RULES)}")
        for name in ("min_precision", "max_over_removal"):
            value = getattr(self, name)
            require(0 < value < 1, name, value, "between 0 and 1")
        for kind, policy in self.policy.items():
            require(kind in KINDS, "policy", kind, f"of the kinds {', '.join(KINDS)}")
            require(policy in POLICIES, f"policy.{kind}", policy, " or ".join(POLICIES))
        require(self.penalty > 0, "penalty", self.penalty, "above 0")


@dataclass(frozen=True, kw_only=True)
class EngineConfig(Fetching, Resources, Tolerance, CaptionTables):
    """`ram-ray engine run`: which photos and captions, which models, which steps, where to."""

    source: str = option(metavar="PATH")
    """Folder or s3:// prefix of images, or of tars that hold images and captions."""
    output: str = option(metavar="PATH")
    """Folder or s3:// prefix of the run; made when missing, resumed when it holds this run."""
    captions: str | None = option(None, metavar="PATH")
    """File, folder or prefix of captions; None: the caption files and tars of `source`."""
    vocabulary: str | None = None
    """The tags: .parquet, .json, .csv or .txt; None: those of the first model."""
    widen: bool = False
    """Also give the nearest wider tag for a word that has none, as `labels parse --widen`."""
    corrections: str | None = None
    """CSV of a person's decisions: image_id, tag, present (1 or 0). No rule overrides them."""

    models: tuple[str, ...] = ("ram-mini",)
    """Names or folders. One: it judges every image, and must have trained on none of them.
    K of them: model f judges fold f, the images it has not trained on (`fold_of`)."""
    generate: bool = True
    """Add tags that the model is sure of."""
    caption: bool = False
    """Also let the model write a caption and parse it; it needs a caption decoder (Tag2Text)."""
    locate: bool = True
    """Find a region for every tag."""
    cluster: bool = True
    """Judge how unusual each region looks; needs `locate`."""
    filter: bool = True
    """Remove tags by rules; off: nothing is removed."""

    target_precision: float = 0.9
    """Share of right tags among the added ones that the thresholds aim at, 0..1."""
    trusted: str | None = None
    """Labels of people for some images of the source, complete (layouts as of `evaluate`): the
    thresholds then come from them instead of from agreement with captions."""
    sample_images: int = 10_000
    """Most images that thresholds are chosen on, drawn by hash."""
    floor: float = 0.05
    """Scores below are not stored, 0..1; a tag from here up is a candidate and gets a region."""

    locator: LocatorKind = "windows"
    """`windows` needs no weights; `onnx` and `grounding-dino` need `locator_file`."""
    locator_file: str | None = None
    """ONNX detector, or folder of Grounding-DINO weights, readable by every process."""
    locator_names: str | None = None
    """Text file with the ONNX detector's classes, one a line."""
    pixels_px: int | None = None
    """Side of the decoded image that regions are cut from; None: twice the model's input."""
    windows: WindowConfig = field(default_factory=WindowConfig)
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    filtering: FilterConfig = field(default_factory=FilterConfig)
    keep_unlocated: tuple[str, ...] = ()
    """Kinds (object, scene, attribute, action) whose tags are kept where no region was found; the
    others are then judged by the remaining evidence. The same as `filtering.policy` in Python."""

    agreed: int | None = 2
    """A tag that this many captions of the image name is kept whatever the filter says: writers who
    do not know of each other do not err alike. None: off."""
    tables: tuple[str, ...] = ()
    """`NAME=FOLDER`: take the tables of a step from there instead of making them; NAME as in
    steps/NAME-..., FOLDER with its tables and commits for the same images (docs/data-engine.md)."""

    shard_rows: int = 1_000
    """Images per shard, about; the unit of commit and resume."""
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    batch_size: int | None = None
    """Crops per model call; None: as many as there are windows, else 16 on a CPU, 64 on a GPU."""
    num_workers: int | None = None
    """Processes of the steps without a model; None: one per CPU."""
    cpus_per_worker: float = 0.9

    def __post_init__(self) -> None:
        for part in (Fetching, Resources, Tolerance, CaptionTables):
            part.__post_init__(self)
        for name in ("source", "output"):
            require(bool(getattr(self, name)), name, getattr(self, name), "not empty")
        require(bool(self.models) and all(self.models), "models", self.models, "at least one name")
        require_share(self, "floor")
        target = self.target_precision
        require(0 < target < 1, "target_precision", target, "between 0 and 1")
        require_at_least_one(
            self, "sample_images", "agreed", "shard_rows", "num_workers", "pixels_px"
        )
        require(self.cpus_per_worker > 0, "cpus_per_worker", self.cpus_per_worker, "above 0")
        kinds = get_args(LocatorKind)
        require(self.locator in kinds, "locator", self.locator, " or ".join(kinds))
        needs_file = self.locator != "windows"
        has_file = self.locator_file is not None
        allowed = f"given for {self.locator}" if needs_file else "left out for windows"
        require(has_file == needs_file, "locator_file", self.locator_file, allowed)
        names_ok = self.locator_names is None or self.locator == "onnx"
        names_ok = names_ok and (self.locator != "onnx" or self.locator_names is not None)
        require(names_ok, "locator_names", self.locator_names, "given for onnx, and only for it")
        require(self.locate or not self.cluster, "cluster", self.cluster, "false without locate")
        require(
            self.generate or not self.caption, "caption", self.caption, "false without generate"
        )
        for text in self.tables:
            known = text.partition("=")[0] in TABLE_STEPS and text.partition("=")[2]
            require(bool(known), "tables", text, f"NAME=FOLDER, NAME of {', '.join(TABLE_STEPS)}")
        unknown = sorted(set(self.keep_unlocated) - set(KINDS))
        require(not unknown, "keep_unlocated", unknown, f"of the kinds {', '.join(KINDS)}")
        trusted_ok = self.generate or self.trusted is None
        require(trusted_ok, "trusted", self.trusted, "left out without generate")

    @property
    def looks(self) -> bool:
        """Whether images are decoded at all."""
        return self.generate or self.locate or self.filter

    @property
    def filter_config(self) -> FilterConfig:
        """`filtering`, with the kinds of `keep_unlocated` kept."""
        policy = dict(self.filtering.policy) | dict.fromkeys(self.keep_unlocated, "keep")
        return replace(self.filtering, policy=policy)


def engine_config(
    flags: Mapping[str, object], *, config_file: str | None = None, settings: Iterable[str] = ()
) -> EngineConfig:
    """Return the EngineConfig of a YAML file, flags and `key=value` texts; later ones win.

    Raises:
        ConfigError: unknown key, wrong type or value; names the key and what is allowed.
    """
    merged = merge_settings(flags, config_file=config_file, settings=settings)
    return build_config(EngineConfig, merged)
