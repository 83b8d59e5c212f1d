"""ram-ray: the Recognize Anything Model family as a distributed system on Ray.

Importing this package costs nothing: ray, torch and the stores load where they are used.

    cli          the command
    demo         `ram-ray demo`
    data_engine  captions and images to clean labels
    training     labels to models
    evaluation   how good tags are
    serving      the HTTP API and the page
    labels       vocabularies, and captions to tags
    tagging      a bucket to tags
    workers      stages that pipelines share
    runs         a run, once: plan, leases, commits
    images       bytes to pixels
    models       published models to folders
    storage      folders and buckets
    cluster      Ray: join or start it, what runs where
    console      what is printed
    exit_codes   how a command ends
    options      settings from files and words
    config       settings of pipelines
    errors       what can go wrong
"""

__version__ = "0.1.0"
