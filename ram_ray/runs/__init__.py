"""A run, written once: tag, retry, labels parse and every step of the engine go this way.

    with open_run(output, store, record=..., planner=...) as run:   opening, record, fields, leases
        for wave in shards.waves():                                 plans, rounds
            with wave.committers(...) as committers:                committer, commits
                for _ in wave.bundles(dataset): ...                 ray_data
        shards.finish()

A pipeline gives what is its own: the fields that make it the same run, how its plan is written,
the Dataset of a wave, and how the rows of a shard are committed.
"""
