"""Which images with which captions an engine run works on; fixed once written.

named_images  images and captions, each with the name by which they meet
disk_sort     sorts them by a hash, on disk
image_plan    the stored plan: shards, orphans, problems
vocabulary    the run's own copy of the vocabulary
"""
