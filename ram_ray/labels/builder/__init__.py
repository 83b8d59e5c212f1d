"""The label system builder: captions and lists in, a vocabulary with its reasons out.

config      settings
build       the pipeline, read top-down
sources     lists, and captions as discovery sees them
lists       formats of lists
names       two names that are the same
candidates  what could be a tag
decisions   a person's decisions, replayed in every build
replay      decisions put into force
senses      what a noun means in a picture
merging     which candidates are one tag
neighbours  tags with close embeddings: proposals
tags        tags out of clusters of candidates
relations   kinds and parents
selection   which tags are kept
tag_ids     ids that stay
coverage    how much of a list is covered; finds a tag under any name
result      what a build made
output      its files
review      its page
terminal    what is printed
overlay     kinds and aliases for a vocabulary that has none
"""
