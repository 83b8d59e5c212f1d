"""What the model side refuses, each with one sentence that says what to do.

ValueError
|-- CaptionError         captions asked of a model that writes none, or that lacks its word pieces
|-- CheckpointError      a weight file or model folder is not what it should be
|-- LabelError           templates, descriptions or a text encoder that cannot be used
|-- TextFileError        a text file that is not UTF-8
|-- UnknownModelError    no model of that name or at that place
`-- UnknownTagError      names that the vocabulary does not hold

RuntimeError
`-- ModelOutputError     the model returned something that is not a finite number
"""


class CaptionError(ValueError):
    """Captions asked of a model that writes none, or whose word-piece list cannot be used."""


class CheckpointError(ValueError):
    """A weight file or model folder is not what it should be; the message names the culprit."""


class LabelError(ValueError):
    """Templates, descriptions or a text encoder that cannot be used; the message says why."""


class TextFileError(ValueError):
    """A text file is not UTF-8; the message names the file and the line."""


class UnknownModelError(ValueError):
    """No model of that name or at that place; the message lists what is known."""


class UnknownTagError(ValueError):
    """Names that the vocabulary does not hold; the message lists them."""


class ModelOutputError(RuntimeError):
    """The model returned NaN or infinity, so its tags would be wrong without anybody noticing."""
