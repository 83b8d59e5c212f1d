"""The data engine: noisy captions in, clean labels out, every decision with its evidence.

engine           the pipeline, read top-down: every step one call
config           all settings
plan             which images with which captions, in which shard
steps            what every step is made with: folder, rounds, tables
parse            step 1: captions to tags
look             the pass over the pixels: scores, and step 3: regions
generate         step 2: the tags that the model adds
cluster          step 4: how unusual a region looks
filter           step 5: the final labels, each with its reason
revisions        sets of labels that never change, and people's corrections
report           step 6: one page about all of it
training_rounds  engine, train, engine: out of fold all the way
explain          why an image has its tags; what differs between two runs
undo             take a rule back
terminal         what `ram-ray engine` prints
"""
