"""Bytes to pixels: one decoder for every pipeline, in a child process with limits.

formats       which format bytes claim to be, by their first bytes
decoder       bytes to pixels or an error code: what pipelines call
child         the process behind it
decode_bytes  what that process does to one image
thumbnails    small pictures for reports
"""
