"""A world of rendered scenes with known tags, and captions as noisy as the web's. Pinned: see
`pinned.py`; nothing here may change once an engine has run on it.
"""
