"""Images on web servers, and on a Hugging Face hub.

addresses   which addresses are of the public internet
hub         hf:// URLs: what a dataset's repository holds, and where its files are
reader      web objects and ranges of them: limits per host, polite retries, checked addresses
"""
