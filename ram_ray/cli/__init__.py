"""The `ram-ray` command: one file a group, each thin over what Python users call too.

app         `ram-ray` itself: tag, verify, report, doctor, demo
flags       options shared by commands: name, help text, the setting each stands for
plan        counts, time and cost before a run
retry       the quarantined images once more
outputs     rethreshold and export
model       list, info, fetch, convert
labels      vocabularies and caption parsing
engine      the data engine: run, explain, diff, undo
train       a configuration, or a model with new tags
evaluation  evaluate and calibrate
serve       the HTTP API and the page
doctor      what works on this machine
"""
