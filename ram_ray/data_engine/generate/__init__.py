"""Step 2: the tags that the model adds, as precise as asked for.

step              the step, read top-down
samples           images as dense rows: scores, and what captions say
evidence          what is said about images, on tags that would be added
score_levels      pairs of image and tag, sorted into levels
threshold_search  the lowest thresholds that are precise enough
promises          whether they keep their promise on other images
choose            a threshold per tag
thresholds_file   where they are kept
"""
