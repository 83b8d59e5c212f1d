"""Tagging: a bucket of images to rows of tags.

config          the settings of a run
pipeline        tag a bucket, read top-down
model           which model it is, and what a process needs to load it
record          what makes two calls the same run
plan            refuse what cannot work, then list the source
source_changes  what has become of the source of a plan
rounds          wave by wave until every shard is committed
dataset         one wave as a Ray Data pipeline
tag_images      pixels to tags
tagged_rows     a tagged chunk as rows
tables          the stored tables
progress        the committers' counts as progress
summary         what a finished run did
remark_notes    what is told of pictures that were repaired or clipped
retrying        quarantined images once more
forecast        time and cost before a run
outputs         what finished runs become
exports         finished runs in other tools' forms
photo           one photo, without Ray
own_dataset     stages for a Ray Data pipeline of a user's own
terminal        what is printed
"""
