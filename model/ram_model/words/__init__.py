"""Words to label embeddings.

open_set          words that a model does not know
label_embeddings  their embeddings, cached
prompts           words to sentences
text_encoder      sentences to vectors
clip              a whole CLIP, for training
"""
