"""What training needs of the family; no loop.

augmentation     random views of an image
rand_augment     one of their parts
losses           each a function of tensors
training_losses  their sum for each model
"""
