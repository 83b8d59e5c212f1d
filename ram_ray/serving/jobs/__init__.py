"""Tagging jobs on the cluster.

ray_jobs      jobs through Ray's job server
job_progress  how far one is, from the files of its run
"""
