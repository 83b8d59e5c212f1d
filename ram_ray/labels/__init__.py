"""Label system and caption parsing: captions in, tags of a vocabulary out."""
