"""What all printed output shares.

progress     how far a run is: a bar on a terminal, plain lines elsewhere
terminal     tables, notes, sizes, safe text
json_output  one JSON value on standard output, and nothing else
"""
