"""The stages of tagging, as classes and functions given to Ray Data; each is testable without Ray.

    ReadPlan -> FetchAndDecode -> TagImages -> a Committer

The unit is the chunk: a few dozen images that are decoded and tagged together, one row between
stages. Ray moves whole rows, so a chunk is never mixed with another, and results do not depend on
scheduling.
"""

from ram_ray.workers.chunks import CHUNK_PIXELS, STRETCH, ReadPlan, split_stretch, with_pixels
from ram_ray.workers.fetch_and_decode import FetchAndDecode
from ram_ray.workers.tagger import TaggerOptions, load_tagger, tagger_options

__all__ = [
    "CHUNK_PIXELS",
    "STRETCH",
    "FetchAndDecode",
    "ReadPlan",
    "TaggerOptions",
    "load_tagger",
    "split_stretch",
    "tagger_options",
    "with_pixels",
]
