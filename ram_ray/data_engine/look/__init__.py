"""The pass that decodes: every image once, whatever the steps want of it.

step            step 3: a region for every image and tag
models          which models judge which images
pipeline        the pass as a Ray Data pipeline
stages          its model stage and committers, as Ray runs them
model_process   what a model process does to a chunk; testable without Ray
eyes            the models, their tags renumbered into the run's vocabulary
locators        what every locator gives, and the check of it
windows         the locator that needs no detector
onnx_detector   a detector in an .onnx file
grounding_dino  Grounding DINO, through transformers
"""
