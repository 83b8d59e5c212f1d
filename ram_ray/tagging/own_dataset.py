"""Stages for a Ray Data pipeline of your own: rows with bytes or URIs in, rows with tags out.

    photos = ray.data.read_binary_files("photos", include_paths=True)
    pixels = photos.map_batches(rr.FetchAndDecode, compute=..., batch_format="pyarrow")
    tagged = pixels.map_batches(rr.TagImages, compute=..., batch_format="pyarrow")

Other columns pass through. A row that cannot be tagged keeps its place, with `error_code`. (A run
of `ram_ray.tag` does more: plan, exactly-once commits, resume.)
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.config import DecodeConfig, Device, Precision, StoreConfig, TagChoice, part_of
from ram_ray.errors import ConfigError, ImageError
from ram_ray.images.decoder import Decoder
from ram_ray.storage.fetching import Fetched, Fetcher, FetchLimits
from ram_ray.tagging.model import image_size_of
from ram_ray.workers.tagger import TaggerOptions, load_tagger

DATA, PLACES = "bytes", ("uri", "path")
"""Columns that hold the image: its bytes, or where it is (a path or s3://bucket/key)."""
DECODED = pa.schema(
    [
        pa.field("pixels", pa.large_binary()),  # uint8 [S, S, 3], RGB; null: see error_code
        pa.field("width", pa.int32(), nullable=False),  # as stored; 0: not decoded
        pa.field("height", pa.int32(), nullable=False),
        pa.field("error_code", pa.string()),  # ImageErrorCode, or null
        pa.field("message", pa.string()),
    ]
)
TAGGED = pa.schema(
    [
        pa.field("tags", pa.list_(pa.string()), nullable=False),  # best score first
        pa.field("tag_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),  # 0..1
    ]
)


class DecodeRows:
    """`ram_ray.FetchAndDecode`: adds DECODED, drops the bytes; a decoder process of its own."""

    def __init__(
        self,
        model: str = "ram-mini",
        *,
        store: StoreConfig | None = None,
        decode: DecodeConfig | None = None,
        fetch_timeout_s: float = 60.0,
        fetch_concurrency: int = 32,
    ) -> None:
        """Start the decoder; `model` tells the size of the pixels, its weights are not loaded.

        Raises:
            ConfigError: no such model.
        """
        decode = decode or DecodeConfig()
        limits = FetchLimits(fetch_timeout_s, decode.max_image_bytes, fetch_concurrency)
        self._decoder = Decoder(image_size_of(model), decode)
        self._fetcher = Fetcher(store or StoreConfig(), limits)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return the rows with DECODED.

        Raises:
            ConfigError: there is no column of bytes or places.
        """
        found = [self._decode(one) for one in self._bytes_of(rows)]
        decoded = pa.Table.from_pylist(found, DECODED)
        kept = rows.drop_columns([DATA]) if DATA in rows.column_names else rows
        for name in DECODED.names:
            kept = kept.append_column(DECODED.field(name), decoded[name])
        return kept

    def close(self) -> None:
        """End the decoder's process and the fetcher's thread; Ray just ends the whole worker."""
        self._decoder.close()
        self._fetcher.close()

    def _bytes_of(self, rows: pa.Table) -> Iterator[Fetched]:
        if DATA in rows.column_names:
            for value in rows[DATA].to_pylist():
                yield Fetched(value or b"", None, 0)
            return
        place = next((name for name in PLACES if name in rows.column_names), None)
        if place is None:
            raise ConfigError(
                f"The rows have the columns {', '.join(rows.column_names)}, but need {DATA}, or "
                f"one of {', '.join(PLACES)}."
            )
        for future in self._fetcher.fetch_all(rows[place].to_pylist()):
            yield future.result()

    def _decode(self, fetched: Fetched) -> dict[str, Any]:
        error = fetched.error
        if fetched.data is not None:
            try:
                image = self._decoder.decode(fetched.data)
            except ImageError as caught:
                error = caught
            else:
                pixels = image.pixels.tobytes()
                return {"pixels": pixels, "width": image.width, "height": image.height}
        assert error is not None, "neither bytes nor an error"
        failed = {"error_code": error.code.value, "message": error.message}
        return {"pixels": None, "width": 0, "height": 0} | failed


class TagRows:
    """`ram_ray.TagImages`: adds TAGGED, drops the pixels; holds the model."""

    def __init__(
        self,
        model: str = "ram-mini",
        *,
        device: Device = "auto",
        precision: Precision = "fp32",
        batch_size: int = 16,
        **choice: Any,
    ) -> None:
        """Load the model.

        Args:
            batch_size: images per model call, whatever Ray's batches are.
            choice: fields of `ram_ray.config.TagChoice`: tags, threshold, score_floor, ...

        Raises:
            ConfigError: no such model, or a field that is wrong.
        """
        asked = part_of(TagChoice(model=model, **choice), TagChoice)
        options = TaggerOptions(**asked, device=device, precision=precision, batch_size=batch_size)
        self._tagger, _ = load_tagger(options)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return the rows with TAGGED; rows with an `error_code` get empty lists."""
        size = self._tagger.image_size_px
        data = rows["pixels"].to_pylist()
        images = [np.frombuffer(one, np.uint8) for one in data if one is not None]
        found = iter(())
        if images:
            found = iter(self._tagger(np.stack(images).reshape(len(images), size, size, 3)))
        nothing = {"tags": [], "tag_ids": [], "scores": []}
        tagged = [nothing if one is None else _row(next(found)) for one in data]
        table = pa.Table.from_pylist(tagged, TAGGED)
        rows = rows.drop_columns(["pixels"])
        for name in TAGGED.names:
            rows = rows.append_column(TAGGED.field(name), table[name])
        return rows


def _row(tags: Any) -> dict[str, Any]:
    return {"tags": tags.names, "tag_ids": tags.tag_ids, "scores": tags.scores}
