"""Published models to model folders.

config             what a fetch and a conversion ask for
published          what is published where, with checksums
download           a file over HTTP, resumed and checked
download_progress  how that is shown
files              published files in a cache, or from a mirror
convert            a checkpoint to a model folder
fetch              all of it: `ram-ray model fetch`
terminal           what is printed
"""
