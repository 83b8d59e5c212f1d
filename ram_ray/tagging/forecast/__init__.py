"""`ram-ray plan`: what a run will take, before anything is spent.

pipeline  list, sample, estimate
sample    a few images through every stage
estimate  time and bill: arithmetic
"""
