"""The stages that pipelines share, as classes given to Ray Data; each is testable without Ray.

    ReadPlan -> FetchAndDecode -> TagImages (ram_ray.tagging) -> a Committer

The unit is the chunk: a few dozen images that are decoded and tagged together, one row between
stages. Ray moves whole rows, so a chunk is never mixed with another, and results do not depend on
scheduling.

    chunks            how the plan is cut into rows that travel
    fetch_window      how much is fetched ahead
    fetch_and_decode  places to pixels
    turns             chunks in flight in one process
    tagger            the Tagger of a run, as a process loads it
"""
