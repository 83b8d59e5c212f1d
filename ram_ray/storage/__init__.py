"""One way to folders and buckets; no run, no Ray.

again           what is tried again, and when
reasons         why a store cannot be reached, in a sentence
clients         of S3: obstore's and boto3's
stores          a place to write: create-if-absent, move, list
key_ranges      a sorted key space walked at many places at once
bucket_listing  an S3 prefix, exactly
pins            what was seen of an object, and whether bytes are those
sources         a folder or an S3 prefix, listed in key order
cloud_listing   a gs:// bucket or an az:// container
web             web servers and Hugging Face hubs
uris            how a URI names a whole object, a part of a tar, or a row of a table
bodies          the bytes of an object or of a part of it, checked against what was listed
fetching        image bytes: many requests in flight, each failure a code
object_files    an object as a file to read and seek
lance_tables    a Lance table at one version
table_rows      one cell of a table, for fetching
reading         what a URI names, at once
tars            the members of a tar, by name and place
tables          lists and tables as sources
listing         any source: its objects, and what is in its containers
unique_ids      two rows of one id are refused
parquet         a Parquet object as a table
regular_files   local files that are files: no pipe, no device
"""
