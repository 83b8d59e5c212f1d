"""Shards of a plan without a plan, for tests of what comes after planning."""

from ram_ray.runs.plans import plan_table, shard_name, to_parquet
from ram_ray.storage.sources import SourceObject
from ram_ray.storage.stores import Store


def write_plan_shard(store: Store, shard: int, objects: list[SourceObject]) -> None:
    """Write one shard where 0.1.0 had it."""
    store.write(f"plan/{shard_name(shard)}.parquet", to_parquet(plan_table(objects)))
