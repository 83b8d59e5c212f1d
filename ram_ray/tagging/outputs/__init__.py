"""What is told and made of a run, mostly of a finished one.

status          how far it is, while it runs
verification    recounts it from its files
published_rows  every row, shard by shard
rethresholding  new thresholds without a second pass
run_output      what a report shows
contact_sheet   report.html
"""
