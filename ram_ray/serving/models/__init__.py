"""Models behind the API: pixels in, predictions out, many requests in one batch.

backend           the one interface between HTTP and models
local_backend     models in this process, without Ray
serve_backend     models on Serve; repeats what a dead replica lost
replica_count     how many replicas can be called
counting_router   Serve's router, which says how many
scaling           how many there should be
model_deployment  the model processes of Serve
batching          what waits goes into the next call
loaded_model      a model in memory
rules             logits to what one caller is told
"""
