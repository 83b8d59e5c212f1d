"""Sets of labels of an output: none is ever changed, every decision is kept.

decision_log  what was decided, by which rule, on what evidence
corrections   a person's decisions, from a CSV
label_sets    the stored sets, numbered
wording       decisions in plain words
"""
