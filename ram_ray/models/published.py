"""What the authors of RAM published, and where: weights, tag lists, prompts, descriptions.

None of it is part of this project. Names and checksums are those of the public repository
xinyu1205/recognize-anything at commit 7cb804a and of its download links; the released weights have
no published checksum there, so theirs is the one that the hub sends with the file.
"""

from dataclasses import dataclass

from ram_model.config import Kind

_COMMIT = "7cb804a8609e9f4b1a50b7f31436d2df40bb9481"
_UPSTREAM = f"https://raw.githubusercontent.com/xinyu1205/recognize-anything/{_COMMIT}"
_HUB = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFile:
    """One file, the places that have it, and how it is told from others."""

    name: str
    """As published; a mirror has it under this name."""
    urls: tuple[str, ...]
    """Asked in order."""
    sha256: str | None = None
    """None: not known beforehand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedModel:
    """A model's files."""

    name: str
    kind: Kind
    size: str
    """As a name of `ram_model.config.variant`."""
    checkpoint: PublishedFile
    tags: PublishedFile
    thresholds: PublishedFile | None = None
    """Tag2Text's are few, and stand in its code."""
    tags_zh: PublishedFile | None = None
    templates: PublishedFile | None = None
    """The Python file that holds the prompt templates; it is read, never run."""
    text_encoder: PublishedFile | None = None
    """CLIP, where the model takes new words."""
    descriptions: PublishedFile | None = None
    word_pieces: PublishedFile | None = None
    """BERT's, where the model writes captions."""
    license: PublishedFile


def _upstream(path: str, sha256: str | None = None) -> PublishedFile:
    name = path.rpartition("/")[2]
    return PublishedFile(name=name, urls=(f"{_UPSTREAM}/{path}",), sha256=sha256)


def _weights(name: str, *repositories: str) -> PublishedFile:
    urls = tuple(f"{_HUB}/{repository}/resolve/main/{name}" for repository in repositories)
    return PublishedFile(name=name, urls=urls)


RAM_TAGS = _upstream(
    "ram/data/ram_tag_list.txt", "5d96d2f7225527480ad773aaac76b6e5c08a18adf6eae9ca7d2ab923d5e7bd8b"
)
RAM_TAGS_ZH = _upstream(
    "ram/data/ram_tag_list_chinese.txt",
    "c912657a0f30be7b2f5df6ccffa17e1d84561d0bea508528e38b6d0d711bcfbe",
)
RAM_THRESHOLDS = _upstream(
    "ram/data/ram_tag_list_threshold.txt",
    "b6f81d0de1bc7f9c251af512c413eae976c77dbfbadf700d4e3d90510f4c6447",
)
TAG2TEXT_TAGS = _upstream(
    "ram/data/tag2text_ori_tag_list.txt",
    "7d05c7cb88ed46a2aee1434776964f6bdbda0c0f4233c8633e109084382d3a45",
)
# 200 tags that RAM does not know; descriptions of its own 4,585 are in its weights.
DESCRIPTIONS = _upstream(
    "datasets/openimages_rare_200/openimages_rare_200_llm_tag_descriptions.json",
    "b65f1cdf4506df0efe987a8178f06c076e38ea5be5432355a00d12ac0db296e7",
)
# The list inside is checked by the checksum of its 63 lines (`ram_model.words.prompts`).
TEMPLATES = _upstream("ram/utils/openset_utils.py")
LICENSE = _upstream("LICENSE")
BERT_VOCABULARY = PublishedFile(
    name="vocab.txt",
    urls=(f"{_HUB}/google-bert/bert-base-uncased/resolve/main/vocab.txt",),
    sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
)
# OpenAI's ViT-B/16, whose text space RAM learnt; the file that open_clip itself loads.
CLIP = _weights("open_clip_model.safetensors", "timm/vit_base_patch16_clip_224.openai")
CLIP_BYTES = 600_000_000  # about, and its text tower 254 MB: for the check of disk space
TEXT_TOWER_BYTES = 254_000_000

MODELS: dict[str, PublishedModel] = {
    "ram": PublishedModel(
        name="ram",
        kind="ram",
        size="swin_l_384",
        checkpoint=_weights(
            "ram_swin_large_14m.pth",
            "spaces/xinyu1205/Recognize_Anything-Tag2Text",
            "spaces/xinyu1205/recognize-anything",
            "xinyu1205/recognize_anything_model",
        ),
        tags=RAM_TAGS,
        thresholds=RAM_THRESHOLDS,
        tags_zh=RAM_TAGS_ZH,
        templates=TEMPLATES,
        text_encoder=CLIP,
        license=LICENSE,
    ),
    "ram-plus": PublishedModel(
        name="ram-plus",
        kind="ram_plus",
        size="swin_l_384",
        checkpoint=_weights(
            "ram_plus_swin_large_14m.pth", "xinyu1205/recognize-anything-plus-model"
        ),
        tags=RAM_TAGS,
        thresholds=RAM_THRESHOLDS,
        tags_zh=RAM_TAGS_ZH,
        templates=TEMPLATES,
        text_encoder=CLIP,
        license=LICENSE,
        descriptions=DESCRIPTIONS,
    ),
    "tag2text": PublishedModel(
        name="tag2text",
        kind="tag2text",
        size="swin_b_384",
        checkpoint=_weights(
            "tag2text_swin_14m.pth",
            "spaces/xinyu1205/Recognize_Anything-Tag2Text",
            "spaces/xinyu1205/recognize-anything",
            "xinyu1205/recognize_anything_model",
        ),
        tags=TAG2TEXT_TAGS,
        word_pieces=BERT_VOCABULARY,
        license=LICENSE,
    ),
}
