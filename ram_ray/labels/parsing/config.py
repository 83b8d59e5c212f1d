"""Settings of `ram-ray labels parse`, and what a finished parse says about itself."""

from dataclasses import dataclass, field

from ram_ray.config import (
    CaptionTables,
    OnCluster,
    StoreConfig,
    Tolerance,
    option,
    require,
    require_at_least_one,
)


@dataclass(frozen=True, kw_only=True)
class ParseConfig(OnCluster, Tolerance, CaptionTables):
    """`ram-ray labels parse`: which captions, which vocabulary, where to."""

    source: str
    """A file of captions, or a folder or s3://bucket/prefix of them."""
    output: str
    """Folder or s3:// prefix of the run; made when missing, resumed when it holds this run."""
    vocabulary: str = option(metavar="FILE")
    """Tags to look for: .parquet, .json, .csv, or .txt with one name a line."""
    widen: bool = False
    """Also give the nearest wider tag for a word that has none (puppy: dog), and implied tools."""
    spacy: str | None = option(None, metavar="PIPELINE")
    """An installed spaCy pipeline that reads parts of speech; None: the rules, far faster."""
    evidence: bool = False
    """Also write evidence/: rule, place and words of each tag of each caption."""
    shard_bytes: int = 16 * 2**20
    """Source bytes of a shard, the unit of commit and resume."""
    store: StoreConfig = field(default_factory=StoreConfig)
    num_parsers: int | None = None
    """Parser processes; None: one per CPU."""
    cpus_per_parser: float = 0.9

    def __post_init__(self) -> None:
        for name in ("source", "output", "vocabulary"):
            require(bool(getattr(self, name)), name, getattr(self, name), "not empty")
        Tolerance.__post_init__(self)
        CaptionTables.__post_init__(self)
        require_at_least_one(self, "shard_bytes", "num_parsers")
        require(self.cpus_per_parser > 0, "cpus_per_parser", self.cpus_per_parser, "above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class ParseSummary:
    """What a finished run holds; counts are of the whole output, not of this call alone."""

    num_images: int
    num_problems: int
    num_tags: int
    """Distinct tags found."""
    num_shards: int
    num_files: int
    skipped_files: int
    passed_over: dict[str, int] = field(default_factory=dict)
    """What could not be listed or is no file, by reason."""
    passed_examples: dict[str, str] = field(default_factory=dict)
    """The first place of each reason."""
    captions_this_call: int
    captions_per_s: float
    """Of this call, by the wall clock, Ray's start included."""
    wall_s: float
    resumed: bool
    output: str

    @property
    def error_rate(self) -> float:
        """Share of problems, 0..1."""
        return self.num_problems / max(1, self.num_images + self.num_problems)
