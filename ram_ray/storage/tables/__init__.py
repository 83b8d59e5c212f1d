"""Lists and tables that name images, read as sources: one `SourceObject` a row.

columns         which column says where an image is, holds its bytes, or is its id
rows            a row that names an image, as an object of a source
uri_lists       .txt, .csv and .tsv files of URIs
parquet_rows    a Parquet file of images or of URIs
inventory       an S3 Inventory: manifest.json, and its CSV, ORC or Parquet files
lance_rows      a Lance table of images
"""
