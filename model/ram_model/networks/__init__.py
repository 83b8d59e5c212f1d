"""The models, built from parts.

ram                RAM
ram_plus           RAM++
tag2text           Tag2Text
image_encoder      pixels to image tokens
swin               one kind of it
efficientnet_lite  the other
drop_path          blocks that are left out in training
normalisation      pixels as the encoder reads them
tag_decoder        tokens to tags
caption_head       tags and tokens to a memory, memory to text
bert               its parts
text_generation    captions piece by piece
filling            weights into a model
"""
