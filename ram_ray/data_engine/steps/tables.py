"""The tables that steps hand to each other: one file per shard, rows in order of image_id.

Anybody may write them: a step is swapped by a folder with the same tables (docs/data-engine.md).
"""

import pyarrow as pa

IMAGE_ID = pa.field("image_id", pa.string(), nullable=False)
TAG_ID = pa.field("tag_id", pa.int32(), nullable=False)

MENTIONS = pa.schema(
    [
        IMAGE_ID,
        TAG_ID,
        pa.field("kind", pa.string(), nullable=False),  # as the caption uses the word
        pa.field("captions", pa.list_(pa.int32()), nullable=False),  # which name it, from 0
        pa.field("rule", pa.string(), nullable=False),  # of the parser, at the first mention
        pa.field("surface", pa.string(), nullable=False),  # the words there
    ]
)
"""parse: one row per (image, tag) that captions name."""

SCORES = pa.schema(
    [
        IMAGE_ID,
        pa.field("width", pa.int32(), nullable=False),  # pixels, as stored
        pa.field("height", pa.int32(), nullable=False),
        pa.field("model", pa.int32(), nullable=False),  # which of the models looked
        pa.field("caption", pa.string()),  # written by the model; null: none asked for
        pa.field("tag_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),  # 0..1, on the whole image
    ]
)
"""look: one row per image that could be seen; tags from the floor up, and all that were named."""

ADDITIONS = pa.schema(
    [
        IMAGE_ID,
        TAG_ID,
        pa.field("rule", pa.string(), nullable=False),  # generated_tag or generated_caption
        pa.field("score", pa.float32(), nullable=False),
        pa.field("threshold", pa.float32(), nullable=False),
    ]
)
"""generate: one row per (image, tag) that the model adds."""

REGION = pa.struct(
    [
        pa.field("tag_id", pa.int32(), nullable=False),
        pa.field("box", pa.list_(pa.float32(), 4), nullable=False),  # left, top, right, bottom 0..1
        pa.field("locator_score", pa.float32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),  # the tagger's, of this tag, on the region
        pa.field("rival", pa.float32(), nullable=False),  # of the best other tag of the kind; NaN
        pa.field("rival_id", pa.int32(), nullable=False),  # that tag; -1
        pa.field("vector", pa.int32(), nullable=False),  # which of the image's vectors
    ]
)
REGIONS = pa.schema(
    [
        IMAGE_ID,
        pa.field("regions", pa.list_(REGION), nullable=False),  # best first per tag
        pa.field("vectors", pa.large_binary(), nullable=False),  # float16 [V, E], of the regions
        pa.field(
            "foreign", pa.list_(pa.int32()), nullable=False
        ),  # tags of another image's caption
    ]
)
"""locate: one row per image that could be seen."""

VERDICTS = pa.schema(
    [
        IMAGE_ID,
        TAG_ID,
        pa.field("distance", pa.float32(), nullable=False),  # NaN: the tag is not judged
        pa.field("z", pa.float32(), nullable=False),
        pa.field("cut", pa.float32(), nullable=False),
    ]
)
"""cluster: one row per (image, tag) with a region."""

QUARANTINE = pa.schema(
    [
        IMAGE_ID,
        pa.field("uri", pa.string(), nullable=False),
        pa.field("error_code", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
    ]
)
