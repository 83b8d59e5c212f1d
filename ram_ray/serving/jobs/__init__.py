"""Tagging jobs on the cluster.

ray_jobs        jobs through Ray's job server
counted_source  what a job would read
job_progress    how far one is, from the files of its run
"""
