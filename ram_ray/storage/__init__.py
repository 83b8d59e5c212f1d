"""One way to folders and buckets; no run, no Ray.

stores         a place to write: create-if-absent, move, list
sources        a source of images, listed in key order
fetching       image bytes: many requests in flight, each failure a code
object_files   an object as a file to read and seek
tars           the members of a tar, by name and place
parquet        a Parquet object as a table
regular_files  local files that are files: no pipe, no device
"""
