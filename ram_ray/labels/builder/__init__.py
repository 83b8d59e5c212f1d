"""The label system builder: captions and lists in, a vocabulary with its reasons out.

`build.build_vocabulary` is the pipeline, read top-down; `coverage.NameIndex` finds a tag of any
vocabulary under any spelling, inflection or alias.
"""
