"""Bytes to pixels: one decoder for every pipeline, in a child process with limits.

formats        which format bytes claim to be, by their first bytes
extra_formats  HEIC and JPEG XL, where a run asks for them
jxl_header     the size that a JPEG XL file states
decoder        bytes to pixels or an error code: what pipelines call
child          the process behind it
decode_bytes   what that process does to one image
repairs        files whose pixels are whole, though Pillow refuses them
grey           grey of more than 8 bit
remarks        what a picture that decodes had against it
thumbnails     small pictures for reports
"""
