"""What a request passes before any work: identity, limits, safe URLs, safe images.

gate           first and last thing a request meets
request_ids    what it is called
access         who it is from
aws_signature  AWS Signature Version 4, the receiving side
body           a body on its way in
admission      how much work is held
rooms          of all clients, and of each
draining       the end: no new work, answers for the accepted
url_input      images by URL, public addresses only
bucket_input   images in buckets that the operator has named
decoding       bytes to pixels, off the event loop
"""
