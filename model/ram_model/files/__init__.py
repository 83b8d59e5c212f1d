"""Model folders and checkpoints: read, checked by their sha256, written.

pretrained           models by name
checkpoint           a model folder, in and out
caption_files        its caption side
official_checkpoint  official .pth files, read without running them
wrapped_state        what trainers put around the weights in them
official_layout      their names against ours
conversion           from them to a folder
resolution           the same model for another image size
costs                parameters and operations
inspection           what a folder holds
"""
