"""Settings of `ram-ray labels parse`, and what a finished parse says about itself."""

from dataclasses import dataclass, field

from ram_ray.config import StoreConfig, require


@dataclass(frozen=True, kw_only=True, slots=True)
class ParseConfig:
    """`ram-ray labels parse`: which captions, which vocabulary, where to."""

    source: str
    """A file of captions, or a folder or s3://bucket/prefix of them."""
    output: str
    """Folder or s3:// prefix of the run; made when missing, resumed when it holds this run."""
    vocabulary: str
    """Vocabulary file: .parquet, .json, .csv, or .txt with one name a line."""
    widen: bool = False
    """Give the nearest wider tag for a word that has none, and the tools that words imply."""
    spacy: str | None = None
    """An installed spaCy pipeline that reads parts of speech; None: the rules, far faster."""
    evidence: bool = False
    """Also write evidence/: rule, place and words of every tag of every caption."""
    shard_bytes: int = 16 * 2**20
    """Source bytes of a shard, the unit of commit and resume."""
    store: StoreConfig = field(default_factory=StoreConfig)
    num_parsers: int | None = None
    """Parser processes; None: one per CPU."""
    cpus_per_parser: float = 0.9
    address: str | None = None
    """Ray cluster to join; None: a local Ray of this process."""
    max_error_rate: float = 0.05
    """Share of problems among images and problems above which the exit code is 3."""
    max_rounds: int = 3
    """Passes over uncommitted shards before giving up."""

    def __post_init__(self) -> None:
        for name in ("source", "output", "vocabulary"):
            require(bool(getattr(self, name)), name, getattr(self, name), "not empty")
        for name in ("shard_bytes", "num_parsers", "max_rounds"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1")
        require(self.cpus_per_parser > 0, "cpus_per_parser", self.cpus_per_parser, "above 0")
        rate = self.max_error_rate
        require(0 <= rate <= 1, "max_error_rate", rate, "between 0 and 1")


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
