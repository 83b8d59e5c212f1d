"""A finished run in the form that another tool reads.

pipeline      which form, then its writer
forms         their names
rows          what every writer reads, and files that appear when they are whole
files         Parquet, JSON lines, CSV
coco          COCO's annotation file
openimages    OpenImages' CSV of image-level labels
label_studio  tasks with predictions, and the labelling interface
fiftyone      FiftyOne's labels.json
imagefolder   metadata.jsonl of Hugging Face datasets
webdataset    tars of JSON beside the tars of the pictures
sidecars      one file beside each picture: where it may lie, what may not be touched
kohya         sidecars of training tools: a.txt
xmp           sidecars of photo programs: a.jpg.xmp
xmp_packet    our tags inside an XMP packet that may hold others'
"""
