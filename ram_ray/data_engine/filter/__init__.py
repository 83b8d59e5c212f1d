"""Step 5: which named tags to remove, by a filter that no human labelled anything for.

step            the step, read top-down
evidence        what is known about each image and tag
wrong_tags      tags of other images: what the filter learns against
suspicion       how much the evidence speaks against a tag
promises        what may be promised about removals above each cut
fit             the filter, learnt
file            the fitted filter as JSON: all processes decide alike
shard_evidence  what earlier steps found out about a shard
decide          what becomes of each image and tag
"""
