"""Routes: each turns a request into images and options, and tags into its own answer.

reading      a request to images and options
tagging      images to tags: admit, decode, tag, check
tag          POST /v1/tag
rekognition  AWS Rekognition's DetectLabels
azure        Azure's image tags
models       what can be asked for
jobs         /v1/jobs
health       what load balancers and Prometheus ask
page         the page at /
leniency     HEAD, doubled slashes
openapi      the OpenAPI document
"""
