"""What a request passes before any work: identity, limits, safe URLs, safe images.

gate           first and last thing a request meets
access         who it is from
aws_signature  AWS Signature Version 4, the receiving side
admission      how much accepted work is held
draining       the end: no new work, answers for the accepted
url_input      images by URL, public addresses only
decoding       bytes to pixels, off the event loop
"""
