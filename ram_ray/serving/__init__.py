"""The HTTP door: an API, and the models behind it on Ray Serve.

server              `ram-ray serve`: start, wait, stop
ending              the stop: what was accepted is answered first
config              settings
environment         what processes of Serve inherit
log                 one JSON line per request and event
deployment          the application as Serve runs it
ingress_deployment  the processes that answer HTTP
app                 the FastAPI application
context             what every route gets
guard               who may ask, how much, from where
http                routes: our own, Rekognition's, Azure's, jobs, page
models              models in this process or on Serve
own_app             the tagger as a deployment in an app of a user's own
jobs                tagging jobs on the cluster
api                 what requests and answers look like
job_api             the same of jobs
job_locations       which folders and buckets a job may name
problems            errors as HTTP answers
metrics             what Prometheus reads
"""
