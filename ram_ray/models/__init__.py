"""Published models to model folders.

published          what is published where, with checksums
download           a file over HTTP, resumed and checked
download_progress  how that is shown
files              published files in a cache, or from a mirror
convert            a checkpoint to a model folder
fetch              all of it: `ram-ray model fetch`
terminal           what is printed
"""
