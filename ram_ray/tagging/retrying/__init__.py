"""`ram-ray retry`: the quarantined images of a finished run once more.

pipeline  collect, tag, merge
config    settings
retries   which there were, which one was interrupted
merge     what was found takes the place of what was quarantined
"""
