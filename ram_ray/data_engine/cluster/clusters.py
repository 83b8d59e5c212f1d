"""How unusual a region looks among the regions of its tag: K-Means++ and an adaptive cut.

    clusters = fit(embeddings, tag_ids)             # on a sample that fits one process
    verdict = judge(clusters, embeddings, tag_ids)  # streaming, anywhere, with the small table

RAM cuts the outlier 10 % of every tag, which removes right labels wherever fewer than 10 % are
wrong. Here a region is an outlier when its distance to the nearest centroid is far from what is
usual for its tag: a robust z-score. `share` keeps the paper's cut, as a comparator.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ram_ray.data_engine.config import ClusterConfig

CLUSTERS = pa.schema(
    [
        pa.field("tag_id", pa.int32(), nullable=False),
        pa.field("num_regions", pa.int64(), nullable=False),  # in the sample
        pa.field("median", pa.float32(), nullable=False),  # of the distances in the sample
        pa.field("scale", pa.float32(), nullable=False),  # 1.4826 x their median deviation
        pa.field("cut", pa.float32(), nullable=False),  # a distance above it is an outlier
        pa.field("centroids", pa.list_(pa.list_(pa.float32())), nullable=False),  # [k][D]
    ]
)
"""One row per tag that has enough regions; what a driver broadcasts and a run stores."""

MAD_TO_STD = 1.4826
"""Median absolute deviation to standard deviation, for normal values."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clusters:
    """Centroids and cuts of the tags that have them."""

    tag_ids: np.ndarray
    """int32 [G], ascending."""
    centroids: np.ndarray
    """float32 [G, k, D], unit rows; a tag with fewer looks repeats its first centroid."""
    num_regions: np.ndarray
    """int64 [G], in the sample."""
    median: np.ndarray
    """float32 [G], of the distances."""
    scale: np.ndarray
    """float32 [G], robust standard deviation of the distances, above 0."""
    cut: np.ndarray
    """float32 [G], a distance above it is an outlier."""

    def to_table(self) -> pa.Table:
        """Return CLUSTERS."""
        columns = {
            "tag_id": self.tag_ids,
            "num_regions": self.num_regions,
            "median": self.median,
            "scale": self.scale,
            "cut": self.cut,
            "centroids": self.centroids.tolist(),
        }
        arrays = [pa.array(columns[field.name], field.type) for field in CLUSTERS]
        return pa.Table.from_arrays(arrays, schema=CLUSTERS)

    @classmethod
    def from_table(cls, table: pa.Table) -> "Clusters":
        """Return what `to_table` wrote."""
        rows = len(table)
        centroids = np.array(table["centroids"].to_pylist(), np.float32)
        return cls(
            tag_ids=table["tag_id"].to_numpy().astype(np.int32),
            centroids=centroids if rows else np.zeros((0, 1, 0), np.float32),
            num_regions=table["num_regions"].to_numpy(),
            median=table["median"].to_numpy(),
            scale=table["scale"].to_numpy(),
            cut=table["cut"].to_numpy(),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Verdict:
    """How far each region is from the looks of its tag; NaN and False where nobody can say."""

    distance: np.ndarray
    """float32 [R], 1 - cosine to the nearest centroid, 0..2."""
    z: np.ndarray
    """float32 [R], the distance in robust standard deviations of its tag."""
    cut: np.ndarray
    """float32 [R], the distance above which the tag's regions are outliers."""
    outlier: np.ndarray
    """bool [R]."""


def fit(
    embeddings: np.ndarray, tag_ids: np.ndarray, config: ClusterConfig | None = None
) -> Clusters:
    """Return the clusters of every tag with at least `min_regions` usable regions.

    Args:
        embeddings: float [R, D]; rows that are not finite, or zero, are left out.
        tag_ids: int [R].

    Raises:
        ValueError: the lengths differ.
    """
    config = config or ClusterConfig()
    unit, usable = _unit_rows(embeddings, tag_ids)
    rows_of = {
        int(tag_id): np.flatnonzero(usable & (tag_ids == tag_id))
        for tag_id in np.unique(tag_ids[usable])
    }
    rows_of = {tag_id: rows for tag_id, rows in rows_of.items() if len(rows) >= config.min_regions}
    fitted = [_fit_tag(unit[rows], tag_id, config) for tag_id, rows in sorted(rows_of.items())]
    width = unit.shape[1]
    return Clusters(
        tag_ids=np.array(sorted(rows_of), np.int32),
        centroids=(
            np.stack([centroids for centroids, _ in fitted])
            if fitted
            else np.zeros((0, config.num_clusters, width), np.float32)
        ),
        num_regions=np.array([len(rows_of[tag_id]) for tag_id in sorted(rows_of)], np.int64),
        median=np.array([stats[0] for _, stats in fitted], np.float32),
        scale=np.array([stats[1] for _, stats in fitted], np.float32),
        cut=np.array([stats[2] for _, stats in fitted], np.float32),
    )


def judge(clusters: Clusters, embeddings: np.ndarray, tag_ids: np.ndarray) -> Verdict:
    """Return the verdict on each region; a region's verdict depends on no other region.

    Args:
        embeddings: float [R, D].
        tag_ids: int [R].

    Raises:
        ValueError: the lengths differ, or the width is not the clusters'.
    """
    unit, usable = _unit_rows(embeddings, tag_ids)
    distance = np.full(len(unit), np.nan, np.float32)
    z, cut = distance.copy(), distance.copy()
    for at, tag_id in enumerate(clusters.tag_ids.tolist()):
        rows = np.flatnonzero(usable & (tag_ids == tag_id))
        if len(rows):
            distance[rows] = _nearest(unit[rows], clusters.centroids[at])
            z[rows] = (distance[rows] - clusters.median[at]) / clusters.scale[at]
            cut[rows] = clusters.cut[at]
    return Verdict(distance=distance, z=z, cut=cut, outlier=distance > cut)


def _fit_tag(
    unit: np.ndarray, tag_id: int, config: ClusterConfig
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Return centroids [k, D] and (median, scale, cut) of one tag's regions."""
    generator = np.random.default_rng([config.seed, tag_id])
    if len(unit) > config.sample_per_tag:
        unit = unit[generator.choice(len(unit), config.sample_per_tag, replace=False)]
    seeds = _plus_plus(unit, config.num_clusters, generator)
    centroids = _lloyd(unit, seeds, config)
    if len(centroids) < config.num_clusters:
        missing = config.num_clusters - len(centroids)
        centroids = np.concatenate([centroids, np.repeat(centroids[:1], missing, axis=0)])
    distance = _nearest(unit, centroids)
    median = float(np.median(distance))
    scale = max(MAD_TO_STD * float(np.median(np.abs(distance - median))), 1e-4)
    if config.cut == "adaptive":
        cut = median + config.outlier_z * scale
    else:
        cut = float(np.quantile(distance, 1 - config.outlier_share))
    return centroids.astype(np.float32), (median, scale, cut)


def _plus_plus(unit: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return k rows far apart (K-Means++), fewer where fewer differ."""
    chosen = [int(generator.integers(len(unit)))]
    nearest = np.maximum(2 - 2 * unit @ unit[chosen[0]], 0)
    for _ in range(1, k):
        total = float(nearest.sum())
        if total <= 1e-9 * len(unit):
            break
        chosen.append(int(generator.choice(len(unit), p=nearest / total)))
        nearest = np.minimum(nearest, np.maximum(2 - 2 * unit @ unit[chosen[-1]], 0))
    return unit[chosen]


def _lloyd(unit: np.ndarray, seeds: np.ndarray, config: ClusterConfig) -> np.ndarray:
    """Return the centroids after spherical K-Means from these seeds; faiss where installed."""
    try:
        import faiss
    except ImportError:
        return _lloyd_numpy(unit, seeds, config.iterations)
    kmeans = faiss.Kmeans(
        unit.shape[1],
        len(seeds),
        niter=config.iterations,
        seed=config.seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=max(1, len(unit)),
    )
    kmeans.train(np.ascontiguousarray(unit), init_centroids=np.ascontiguousarray(seeds))
    return np.asarray(kmeans.centroids, np.float32)


def _lloyd_numpy(unit: np.ndarray, seeds: np.ndarray, iterations: int) -> np.ndarray:
    centroids = seeds.copy()
    for _ in range(iterations):
        nearest = np.argmax(unit @ centroids.T, axis=1)
        sums = np.zeros_like(centroids)
        np.add.at(sums, nearest, unit)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        moved = np.where(norms > 0, sums / np.maximum(norms, 1e-12), centroids)
        if np.allclose(moved, centroids, atol=1e-6):
            break
        centroids = moved
    return centroids


def _nearest(unit: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.clip(1 - (unit @ centroids.T).max(axis=1), 0, 2).astype(np.float32)


def _unit_rows(embeddings: np.ndarray, tag_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return unit float32 rows, and which of them are usable."""
    if embeddings.ndim != 2 or len(embeddings) != len(tag_ids):
        shapes = f"embeddings is {embeddings.shape}, tag_ids {tag_ids.shape}"
        raise ValueError(f"{shapes}, but must be (R, D) and (R,).")
    values = np.asarray(embeddings, np.float32)
    norms = np.linalg.norm(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), axis=1)
    usable = np.isfinite(values).all(axis=1) & (norms > 0)
    unit = np.zeros_like(values)
    unit[usable] = values[usable] / norms[usable, None]
    return unit, usable
