"""What a build made: `build` fills it, `output` writes it, `review` and `terminal` show it."""

from dataclasses import dataclass

from ram_ray.labels.builder.coverage import Coverage
from ram_ray.labels.builder.merging import Proposal
from ram_ray.labels.builder.selection import Dropped
from ram_ray.labels.builder.tag_ids import Row
from ram_ray.labels.builder.tags import Tag
from ram_ray.labels.problems import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """What a build made, with everything that the review page shows."""

    rows: list[Row]
    """By tag id."""
    parents: list[list[int]]
    dropped: list[Dropped]
    proposals: list[Proposal]
    coverage: list[Coverage]
    problems: list[Problem]
    unknown_names: list[str]
    """Decisions about names that no source has."""
    num_captions: int

    @property
    def tags(self) -> list[Tag]:
        """The kept tags, by id."""
        return [row.tag for row in self.rows if row.tag is not None]
