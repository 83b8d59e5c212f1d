"""Captions in every form that tools of the trade write, and the images that they belong to.

Four doors read captions (`labels parse`, `labels build`, `engine run`, `train`) by this one way:

corpus     all captions of a source, one at a time
listing    the caption files of a source, each with the images it stands beside
forms      what a file is, told from its name and its beginning
pieces     large files cut between lines, and read piece by piece
files      one file to captions, whatever its form
rows       one JSON object or table row to captions and the name of their image
tar_texts  the captions of a tar, by the keys of its members
joining    how the name in a caption file finds its image: one rule
"""
