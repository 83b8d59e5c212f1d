"""The model stage of the pass that decodes, and how its shards are committed, as Ray runs them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ram_ray.data_engine.look.model_process import Looker, LookOptions
from ram_ray.data_engine.steps import counts_table
from ram_ray.data_engine.steps.tables import QUARANTINE, REGIONS, SCORES
from ram_ray.runs.commits import check_conservation, commit_tables
from ram_ray.runs.committer import Begin
from ram_ray.storage.stores import Store, open_store
from ram_ray.workers.chunks import pixels_of


class LookAtImages:
    """Looks at CHUNK_PIXELS, hands the rows to the shard's committer, returns one summary row."""

    def __init__(self, options: LookOptions, pixels_px: int, committers: list[Any]) -> None:
        import ray

        self._ray = ray
        self._committers = committers
        self._pixels_px = pixels_px
        self._looker = Looker(options)

    def __call__(self, chunk: pa.Table) -> pa.Table:
        """Look at the one chunk unless its committer has it already."""
        from ray.exceptions import RayActorError

        row = {name: chunk[name][0].as_py() for name in chunk.column_names if name != "pixels"}
        committer = self._committers[row["shard"] % len(self._committers)]
        where = (row["shard"], row["chunk"])
        images = pixels_of(chunk, self._pixels_px)

        def at(position: int) -> None:
            self._ray.get(committer.at.remote(*where, position))

        try:
            begin: Begin = self._ray.get(committer.begin.remote(*where, row["num_chunks"]))
            if not begin.done:
                seen, quarantine = self._looker.look(row, images, begin, at)
                self._ray.get(committer.add.remote(*where, row["num_chunks"], seen, quarantine))
        except RayActorError:
            pass  # the committer died: its open shards are redone in the next round
        return pa.table({"shard": [row["shard"]], "chunk": [row["chunk"]]})


@dataclass(frozen=True, slots=True)
class CommitSeen:
    """The `CommitRows` of this pass: one shard's rows become the tables of up to two steps."""

    options: LookOptions

    def __call__(
        self, store: Store, shard: int, plan: pa.Table, seen: pa.Table, quarantine: pa.Table
    ) -> None:
        """Check and commit one shard."""
        del store  # of the output; each step has its own below it
        check_conservation(shard, plan, seen, quarantine)
        quarantine = quarantine.cast(QUARANTINE)
        codes = Counter(quarantine["error_code"].to_pylist())
        passes = 2 if self.options.eyes[0].caption else 1
        tables = {"scores": seen.select(SCORES.names).cast(SCORES), "quarantine": quarantine}
        counts: Counter[Any] = Counter(images=seen.num_rows, model_passes=passes * seen.num_rows)
        self._commit_step(self.options.scores_url, shard, tables, counts, codes)
        if self.options.regions_url is not None:
            tables = {"regions": seen.select(REGIONS.names).cast(REGIONS)}
            passed = sum(seen["passes"].to_pylist())
            counts = Counter(images=seen.num_rows, model_passes=passed)
            counts.update(f"region_{why}" for some in seen["problems"].to_pylist() for why in some)
            self._commit_step(self.options.regions_url, shard, tables, counts, codes)

    def _commit_step(
        self,
        url: str,
        shard: int,
        tables: dict[str, pa.Table],
        counts: Counter[Any],
        codes: Counter[str],
    ) -> None:
        store = open_store(url, self.options.store)
        tables = tables | {"counts": counts_table(counts)}
        commit_tables(store, shard, tables, tagged=counts["images"], quarantined_by_code=codes)
