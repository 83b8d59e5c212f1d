"""Step 4: how unusual each region looks among the regions of its tag.

step      the step, read top-down
clusters  K-Means++ and an adaptive cut
"""
