"""One way to folders and buckets; no run, no Ray.

again           what is tried again, and when
reasons         why a store cannot be reached, in a sentence
clients         of S3: obstore's and boto3's
stores          a place to write: create-if-absent, move, list
key_ranges      a sorted key space walked at many places at once
bucket_listing  an S3 prefix, exactly
sources         a source of images, listed in key order
uris            how a URI names a whole object, or a part of a tar
bodies          the bytes of an object or of a part of it, checked against what was listed
fetching        image bytes: many requests in flight, each failure a code
object_files    an object as a file to read and seek
tars            the members of a tar, by name and place
parquet         a Parquet object as a table
regular_files   local files that are files: no pipe, no device
"""
