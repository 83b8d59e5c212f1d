"""Label system and caption parsing: captions in, tags of a vocabulary out.

captions          captions of every tool's form, and how they find their image
label_rows        labels of people, row by row
problems          what in a file could not be read, and where
vocabulary_files  vocabularies, read and written
lexicon           words of English: kinds, senses, forms
parser            captions to tags: the language
parsing           captions to tags: the run, on Ray
builder           lists and captions to a vocabulary
"""
