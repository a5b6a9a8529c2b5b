"""RDF as XMP uses it: the several forms of one statement, read alike.

Fields may be attributes or elements, and a structure may stand in an `rdf:Description` of its own or right in its
property. This module is the only one that imports the XML library.

That library is lxml: it keeps what it does not understand as it is, has wheels for every platform, and its licence
(BSD) asks nothing of those who use it. Exiv2 and its two Python packages are under the GPL: a program under the MIT
licence that depends on them could only be passed on under the GPL as a whole. Besides, their table of namespaces
belongs to the process and is not safe between threads, and they do not write HEIF.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xml": "http://www.w3.org/XML/1998/namespace",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "dc": "http://purl.org/dc/elements/1.1/",
}


def tag(name: str) -> str:
    """Return "dc:subject" as lxml writes it: {namespace}subject."""
    prefix, _, local = name.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def parse(content: bytes) -> Any:
    """Return the tree of an XMP packet (an lxml ElementTree), or None where there is none or it is damaged.

    Entities and document types are refused: XMP has none, and they can name files and grow without end.
    """
    from lxml import etree

    start = content.find(b"<")
    if start < 0 or b"<!DOCTYPE" in content[:4096] or b"<!ENTITY" in content:
        return None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_blank_text=False)
    for candidate in (content, content[start:].rstrip(b"\0 \t\r\n")):  # some programs pad with zeros
        try:
            tree = etree.fromstring(candidate, parser).getroottree()
        except (etree.XMLSyntaxError, ValueError):
            continue
        return tree if tree.docinfo.doctype == "" and rdf_of(tree) is not None else None
    return None


def rdf_of(tree: Any) -> Any:
    """Return the element `rdf:RDF`, or None."""
    root = tree.getroot()
    return root if root.tag == tag("rdf:RDF") else root.find(f".//{tag('rdf:RDF')}")


def top(tree: Any) -> list[Any]:
    """Return the outer `rdf:Description` elements."""
    return [node for node in rdf_of(tree) if node.tag == tag("rdf:Description")]


def holder(node: Any) -> Any:
    """Return the element that has a structure's fields: its `rdf:Description` where it has one, else the node."""
    inner = node.find(tag("rdf:Description"))
    return node if inner is None else inner


def children(node: Any, name: str) -> list[Any]:
    """Return the elements of that name right below a node."""
    return list(node.findall(tag(name)))


def text(node: Any, name: str) -> str:
    """Return a field of a structure as text, be it an attribute or an element; "" where there is none."""
    fields = holder(node)
    value = fields.get(tag(name))
    if value is None:
        value = _value(next(iter(children(fields, name)), None))
    return " ".join(value.split())


def _value(node: Any) -> str:
    """Return an element's text; where it has qualifiers, that of its `rdf:value`."""
    if node is None:
        return ""
    inner = holder(node)
    value = inner.get(tag("rdf:value")) or inner.findtext(tag("rdf:value"))
    return str(value if value is not None else node.text or "")


def items(node: Any) -> list[Any]:
    """Return the members of an array: the `rdf:li` of its Bag, Seq or Alt."""
    return list(_members(node))


def _members(node: Any) -> Iterator[Any]:
    for kind in ("rdf:Bag", "rdf:Seq", "rdf:Alt"):
        for array in children(node, kind):
            yield from children(array, "rdf:li")


def values(node: Any, name: str) -> list[str]:
    """Return the texts of a list, without empty ones; a program that wrote one value without a list is understood."""
    lone = node.get(tag(name))
    found = [lone] if lone else []
    for prop in children(node, name):
        members = items(prop)
        found += [_value(member) for member in members] if members or len(prop) else [_value(prop)]
    return [cleaned for value in found if (cleaned := " ".join(value.split()))]
