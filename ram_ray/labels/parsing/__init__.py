"""`ram-ray labels parse`: caption files to tags, as a run that resumes.

config    settings
pipeline  the run, read top-down
plan      which caption files, in which shards
shard     one shard: parse and commit
terminal  what is printed
"""
