"""A run, written once: tag, retry, labels parse and every step of the engine go this way.

    with open_run(output, store, record=..., planner=...) as run:
        for wave in shards.waves():
            with wave.committers(...) as committers:
                for _ in wave.bundles(dataset): ...
        shards.finish()

opening     takes the output: store, lease, record, plan
fields      what may decide an output's rows, in one place
record      run.json: is it the same run?
leases      one driver per output
plan_files  where a plan lies: no second planner destroys it
plans       the stored plan: fixed once written
rounds      passes over what is not committed, and how the run ends
waves       one execution of Ray Data, and the committers it ends with
ray_data    Ray Data's settings, and what its errors mean
committer   collects a shard's rows until it is whole
commits     a shard's files become visible all at once

A pipeline gives what is its own: the fields that make it the same run, how its plan is written,
the Dataset of a wave, and how the rows of a shard are committed.
"""
