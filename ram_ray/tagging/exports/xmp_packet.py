"""Our tags inside an XMP packet that may hold a person's.

Where photo programs look for keywords, and who reads which:

    dc:subject              all: plain keywords
    lr:hierarchicalSubject  Lightroom, darktable, digiKam: "ram-ray|dog"
    digiKam:TagsList        digiKam: "ram-ray/dog"

All of ours lie under one root tag, so that they are seen, and removed, together. dc:subject has no
roots; which of its keywords are ours is kept in a property of our own, `added`.
"""

import importlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ram_ray.errors import ConfigError

ROOT = "ram-ray"
_X = "adobe:ns:meta/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_LR = "http://ns.adobe.com/lightroom/1.0/"
_DIGIKAM = "http://www.digikam.org/ns/1.0/"
_OWN = "urn:ram-ray:xmp:1.0:"
_PREFIXES = {"dc": _DC, "lr": _LR, "digiKam": _DIGIKAM, "ramray": _OWN}
_SUBJECT = f"{{{_DC}}}subject"
_HIERARCHICAL = f"{{{_LR}}}hierarchicalSubject"
_TAGS_LIST = f"{{{_DIGIKAM}}}TagsList"
_ADDED = f"{{{_OWN}}}added"
_LI = f"{{{_RDF}}}li"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="{_X}">\n <rdf:RDF xmlns:rdf="{_RDF}">\n'
    '  <rdf:Description rdf:about=""/>\n </rdf:RDF>\n</x:xmpmeta>\n'
    '<?xpacket end="w"?>'
).encode()


class UnreadablePacketError(ValueError):
    """A sidecar that is no XMP packet; it is left as it is."""


def merge_tags(packet: bytes | None, tags: Sequence[str]) -> bytes:
    """Return `packet` with exactly `tags` as ours, and all that is not ours as it was.

    Args:
        packet: a sidecar's content; None where there is none.
        tags: names, best first. "|" and "/" part levels in the programs above: they become "-".

    Returns:
        bytes: UTF-8; equal to `packet` where nothing changes.

    Raises:
        UnreadablePacketError: it is no XML, or no XMP.
        ConfigError: lxml is not installed.
    """
    names = list(dict.fromkeys(_flat(name) for name in tags if _flat(name)))
    tree = _parse(packet or _EMPTY)
    properties = {name: _Bag(tree, name) for name in (_SUBJECT, _HIERARCHICAL, _TAGS_LIST, _ADDED)}
    before = {name: bag.items() for name, bag in properties.items()}
    trees = {
        _HIERARCHICAL: _under_root(before[_HIERARCHICAL], names, "|"),
        _TAGS_LIST: _under_root(before[_TAGS_LIST], names, "/"),
    }
    theirs = _leaves(trees)
    mine = [one for one in before[_ADDED] if one not in theirs]
    kept = [one for one in before[_SUBJECT] if one not in mine or one in names]
    added = [name for name in names if name not in kept]
    owned = [name for name in names if name in mine or name in added]
    after = trees | {_SUBJECT: kept + added, _ADDED: owned}
    if packet is not None and after == before:
        return packet
    for name, bag in properties.items():
        bag.set(after[name])
    return _written(tree)


def _flat(name: str) -> str:
    return name.replace("|", "-").replace("/", "-").strip()


def _under_root(items: Iterable[str], names: Iterable[str], level: str) -> list[str]:
    others = [one for one in items if one != ROOT and not one.startswith(ROOT + level)]
    return others + [f"{ROOT}{level}{name}" for name in names]


def _leaves(trees: dict[str, list[str]]) -> Collection[str]:
    """Return the keywords that a person's own trees put into dc:subject: never ours to remove."""
    levels = {_HIERARCHICAL: "|", _TAGS_LIST: "/"}
    return {
        one.rpartition(levels[name])[2]
        for name, items in trees.items()
        for one in items
        if not one.startswith(ROOT + levels[name])
    }


def _etree() -> Any:
    try:
        return importlib.import_module("lxml.etree")
    except ImportError as error:
        raise ConfigError(
            "XMP sidecars need lxml: install ram-ray with the extra `xmp`."
        ) from error


def _parse(packet: bytes) -> Any:
    """Return the tree; nothing outside the packet is read, no entity is expanded."""
    etree = _etree()
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        tree = etree.fromstring(packet.strip(), parser).getroottree()
    except etree.XMLSyntaxError as error:
        raise UnreadablePacketError(str(error)) from error
    if tree.docinfo.doctype or next(tree.iter(f"{{{_RDF}}}RDF"), None) is None:
        raise UnreadablePacketError("no rdf:RDF")
    return tree


def _written(tree: Any) -> bytes:
    etree = _etree()
    etree.indent(next(tree.iter(f"{{{_RDF}}}RDF")), " ", level=1)
    return etree.tostring(tree, encoding="utf-8", xml_declaration=False) + b"\n"


class _Bag:
    """A property of a packet that is an unordered list of texts, in whichever way it is written."""

    def __init__(self, tree: Any, name: str) -> None:
        self._rdf = next(tree.iter(f"{{{_RDF}}}RDF"))
        self._name = name

    def items(self) -> list[str]:
        found = [one for element in self._elements() for one in _texts(element)]
        found += [
            about.attrib[self._name] for about in self._abouts() if self._name in about.attrib
        ]
        return [one for one in found if one]

    def set(self, items: Sequence[str]) -> None:
        """Write the list as one rdf:Bag; without items, no property."""
        etree = _etree()
        for about in self._abouts():
            about.attrib.pop(self._name, None)
        elements = self._elements()
        for element in elements[1:] if items else elements:
            element.getparent().remove(element)
        if not items:
            return
        if elements:
            element = elements[0]
            for child in list(element):
                element.remove(child)
            element.text = None
        else:
            element = etree.SubElement(self._about(), self._name, nsmap=self._nsmap())
        bag = etree.SubElement(element, f"{{{_RDF}}}Bag")
        for item in items:
            etree.SubElement(bag, _LI).text = item

    def _abouts(self) -> list[Any]:
        return list(self._rdf.iterchildren(f"{{{_RDF}}}Description"))

    def _elements(self) -> list[Any]:
        return [one for about in self._abouts() for one in about.iterchildren(self._name)]

    def _about(self) -> Any:
        etree = _etree()
        abouts = self._abouts()
        if abouts:
            return abouts[0]
        attributes = {f"{{{_RDF}}}about": ""}
        return etree.SubElement(self._rdf, f"{{{_RDF}}}Description", attributes)

    def _nsmap(self) -> dict[str, str]:
        namespace = self._name[1:].partition("}")[0]
        return {prefix: uri for prefix, uri in _PREFIXES.items() if uri == namespace}


def _texts(element: Any) -> list[str]:
    listed = [one.text or "" for one in element.iter(_LI)]
    return listed or [(element.text or "").strip()]
