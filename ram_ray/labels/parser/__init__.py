"""Captions to tags: rules over words, a whole batch at once, without a model.

caption_parser  what users call: captions to tags of a vocabulary
tokens          captions to tokens
words           what a word can be, from the lexicon
inflection      forms to lemmas and back
typos           words spelt wrong
word_reading    one word, read by all of these
function_words  closed word classes
speech          parts of speech of a batch
homographs      words with two readings
spacy_tier      parts of speech by spaCy instead
compounds       names of several words, how each is read
phrases         longest match of them
absence         what is said not to be there
analysis        captions to mentions, with all of the above
resolution      mentions to tags; RULES
widening        names that a vocabulary lacks, led to those it has
agreement       what captions of one image say together
kinds           object or scene
discovery       captions to candidates, without a vocabulary
"""
