"""A person's own tags are never lost, in whichever way a program wrote them."""

from pathlib import Path

import pytest

from ram_ray.tagging.exports.pipeline import export
from ram_ray.tagging.exports.xmp_packet import UnreadablePacketError, merge_tags
from tests.tagging.outputs.test_rethresholding import write_run

etree = pytest.importorskip("lxml.etree")

NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
}
PERSON = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- by hand -->
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/>
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:digiKam="http://www.digikam.org/ns/1.0/">
   <dc:subject><rdf:Bag><rdf:li>Anna</rdf:li><rdf:li>dog</rdf:li></rdf:Bag></dc:subject>
   <digiKam:TagsList><rdf:Seq><rdf:li>People/Anna</rdf:li><rdf:li>Animals/dog</rdf:li></rdf:Seq>
   </digiKam:TagsList>
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Our dog</rdf:li></rdf:Alt></dc:title>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def listed(packet: bytes, name: str) -> list[str]:
    root = etree.fromstring(packet.strip())
    return [one.text for one in root.iterfind(f".//{name}/*/rdf:li", NAMES)]


def test_ours_come_beside_a_person_s() -> None:
    merged = merge_tags(PERSON, ["dog", "grass"])
    assert listed(merged, "dc:subject") == ["Anna", "dog", "grass"]
    assert listed(merged, "digiKam:TagsList") == [
        "People/Anna", "Animals/dog", "ram-ray/dog", "ram-ray/grass"
    ]  # fmt: skip
    for kept in (b"<?xpacket begin", b"<?xpacket end", b"by hand", b'xmp:Rating="4"', b"Our dog"):
        assert kept in merged


def test_a_later_export_takes_back_ours_alone() -> None:
    merged = merge_tags(merge_tags(PERSON, ["dog", "grass"]), ["sky"])
    assert listed(merged, "dc:subject") == ["Anna", "dog", "sky"]
    assert listed(merged, "lr:hierarchicalSubject") == ["ram-ray|sky"]
    nothing = merge_tags(merged, [])
    assert listed(nothing, "dc:subject") == ["Anna", "dog"]
    assert listed(nothing, "digiKam:TagsList") == ["People/Anna", "Animals/dog"]


def test_a_keyword_that_a_person_took_over_stays() -> None:
    ours = merge_tags(None, ["dog"])
    confirmed = ours.replace(
        b"ram-ray/dog</rdf:li>", b"ram-ray/dog</rdf:li><rdf:li>Pets/dog</rdf:li>"
    )
    assert listed(merge_tags(confirmed, []), "dc:subject") == ["dog"]


def test_the_same_tags_change_no_byte() -> None:
    once = merge_tags(PERSON, ["dog", "grass"])
    assert merge_tags(once, ["dog", "grass"]) == once


def test_other_writings_of_a_list_are_read() -> None:
    attribute = PERSON.replace(
        b"<dc:subject><rdf:Bag><rdf:li>Anna</rdf:li><rdf:li>dog</rdf:li></rdf:Bag></dc:subject>",
        b"<dc:subject>Anna</dc:subject>",
    )
    assert listed(merge_tags(attribute, ["sky"]), "dc:subject") == ["Anna", "sky"]
    about = b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    short = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    packet = short + about + b'dc:subject="Anna"/></rdf:RDF>'
    assert listed(merge_tags(packet, ["sky"]), "dc:subject") == ["Anna", "sky"]


@pytest.mark.parametrize(
    "packet", [b"", b"no xml", b"<a/>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>']
)
def test_what_is_no_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(UnreadablePacketError):
        merge_tags(packet or b" ", ["dog"])


def test_a_sidecar_that_cannot_be_read_is_left_and_counted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", score_floor=None)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "0.jpg.xmp").write_bytes(b"broken")
    (photos / "1.xmp").write_bytes(PERSON)  # Lightroom's name
    (tmp_path / "else").write_bytes(PERSON)
    (photos / "2.jpg.xmp").symlink_to(tmp_path / "else")
    report = export(str(run), photos, form="xmp")
    assert (report.images, sum(report.left_out.values())) == (1, 2)
    assert (photos / "0.jpg.xmp").read_bytes() == b"broken"
    assert (photos / "1.xmp").read_bytes() == PERSON  # no tags: nothing to say
    assert (tmp_path / "else").read_bytes() == PERSON
