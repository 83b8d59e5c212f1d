"""What is trained on, the same whatever the number of workers.

samples  where each image lies
labels   what is known of each
order    which samples in which step
reading  their bytes
feed     a worker's share, decoded in order
batches  tensors of a forward pass
pairs    the same of image-text pairs
"""
