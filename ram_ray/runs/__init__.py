"""A run, once: what tagging, parsing and the engine share.

leases     one driver per output
plans      the stored plan: fixed once written
committer  collects a shard's rows until it is whole
commits    a shard's files become visible all at once
"""
