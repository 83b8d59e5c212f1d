"""How good a model's tags are, from a run's scores and labels of people.

config       what an evaluation and a calibration ask for
pipeline     `evaluate` and `calibrate`, read top-down
layouts      label files in the layouts they are published in
truth        labels of people, as one table
scored       scores beside labels
baselines    what a model must beat: CLIP, a linear head
measures     the figures, each with its convention
limits       known weak points: numbers, siblings, bias
curves       the plots, as points
cider        CIDEr of captions
calibration  thresholds that keep a promise about precision
page         evaluation.html
limits_page  its part about limits
"""
