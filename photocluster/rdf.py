"""RDF as XMP uses it: the several forms of one statement, read alike.

Fields may be attributes or elements, and a structure may stand in an `rdf:Description` of its own or right in its
property. This module is the only one that imports the XML library.

That library is lxml: it keeps what it does not understand as it is, has wheels for every platform, and its licence
(BSD) asks nothing of those who use it. Exiv2 and its two Python packages are under the GPL: a program under the MIT
licence that depends on them could only be passed on under the GPL as a whole. Besides, their table of namespaces
belongs to the process and is not safe between threads, and they do not write HEIF.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
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
    "xmpNote": "http://ns.adobe.com/xmp/note/",
}


@cache
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
    # Of a phone's depth map or Lightroom's masks one text alone has more than lxml's ten million bytes.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
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
    return list(node.iterchildren(tag(name)))


def text(node: Any, name: str) -> str:
    """Return a field of a structure as text, be it an attribute or an element; "" where there is none."""
    fields = holder(node)
    attribute = fields.get(tag(name))
    return value(next(iter(children(fields, name)), None)) if attribute is None else " ".join(attribute.split())


def value(node: Any) -> str:
    """Return an element's text, white space folded; where it has qualifiers, that of its `rdf:value`."""
    if node is None:
        return ""
    inner = holder(node)
    qualified = inner.get(tag("rdf:value")) or inner.findtext(tag("rdf:value"))
    return " ".join(str(qualified if qualified is not None else node.text or "").split())


def items(node: Any) -> list[Any]:
    """Return the members of an array: the `rdf:li` of its Bag, Seq or Alt."""
    return list(_members(node))


def _members(node: Any) -> Iterator[Any]:
    for kind in ("rdf:Bag", "rdf:Seq", "rdf:Alt"):
        for array in children(node, kind):
            yield from children(array, "rdf:li")


def lone_values(node: Any, name: str) -> list[str]:
    """Return what a program wrote as a single value where a list belongs: an attribute, or an element with text."""
    found = [node.get(tag(name), ""), *(value(prop) for prop in children(node, name) if not len(prop))]
    return [" ".join(text.split()) for text in found if text.strip()]


def values(node: Any, name: str) -> list[str]:
    """Return the texts of a list, without empty ones; a single value where a list belongs is a list of one."""
    members = [value(member) for prop in children(node, name) for member in items(prop)]
    return lone_values(node, name) + [text for text in members if text]


# Changes. What is not touched keeps its bytes, but for the quotation marks of attributes.

_EMPTY = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="photocluster">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>
</x:xmpmeta>
<?xpacket end="w"?>
"""

_BESIDE = {"mwg-rs": ("stDim", "stArea"), "MP": ("MPRI", "MPReg")}
"""Namespaces whose structures use others."""


def empty() -> Any:
    """Return a new packet that says nothing."""
    return parse(_EMPTY.encode())


def is_empty(tree: Any) -> bool:
    """Whether a packet says nothing."""
    return not any(len(node) or set(node.attrib) - {tag("rdf:about")} for node in rdf_of(tree))


def serialised(tree: Any, before: bytes = b"") -> bytes:
    """Return the packet in UTF-8, with an XML declaration where the packet `before` had one."""
    from lxml import etree

    root = tree.getroot()
    outside = [*reversed(list(root.itersiblings(preceding=True))), root, *root.itersiblings()]
    lines = [etree.tostring(node, encoding="utf-8", with_tail=False).decode() for node in outside]
    if before.lstrip(b"\xef\xbb\xbf").startswith(b"<?xml "):
        lines.insert(0, '<?xml version="1.0" encoding="UTF-8"?>')
    return ("\n".join(lines) + "\n").encode()


def same(one: bytes, other: bytes) -> bool:
    """Whether two packets are one XML document, but for what surrounds it."""
    from lxml import etree

    first, second = parse(one), parse(other)
    if first is None or second is None:
        return first is second
    return bool(etree.tostring(first.getroot(), method="c14n") == etree.tostring(second.getroot(), method="c14n"))


def new_property(tree: Any, name: str) -> Any:
    """Return a new property, in a description of its own, as ExifTool has them: one per namespace."""
    from lxml import etree

    known = top(tree)
    about = known[0].get(tag("rdf:about"), "") if known else ""
    prefix = name.partition(":")[0]
    namespaces = {used: NAMESPACES[used] for used in (prefix, *_BESIDE.get(prefix, ()))}
    node = etree.Element(tag("rdf:Description"), {tag("rdf:about"): about}, nsmap=namespaces)
    _insert(rdf_of(tree), node)
    return add(node, name)


def add(parent: Any, name: str, *, first: bool = False) -> Any:
    """Return a new element below `parent`, behind the others or before them."""
    from lxml import etree

    prefix = name.partition(":")[0]
    known = None if NAMESPACES[prefix] in parent.nsmap.values() else {prefix: NAMESPACES[prefix]}
    node = etree.Element(tag(name), nsmap={**parent.nsmap, **(known or {})})
    _insert(parent, node, first=first)
    return node


def _insert(parent: Any, node: Any, *, first: bool = False) -> None:
    """Put an element in its place, indented like its neighbours."""
    if len(parent):
        lead = parent.text
        if first:
            node.tail = lead
            parent.insert(0, node)
        else:
            node.tail, parent[-1].tail = parent[-1].tail, lead
            parent.append(node)
        return
    outer = _lead(parent)
    parent.text, node.tail = (f"{outer} ", outer) if outer.startswith("\n") else (None, None)
    parent.append(node)


def _lead(node: Any) -> str:
    """Return the line break and indentation before an element, "" where it stands in a line with another."""
    before = node.getprevious()
    parent = node.getparent()
    if parent is None:
        return "\n"
    space = (parent.text if before is None else before.tail) or ""
    line, found, indentation = space.rpartition("\n")
    del line
    return f"\n{indentation}" if found and not indentation.strip() else ""


def remove(node: Any) -> None:
    """Take an element out, and the description around it if nothing else stands there."""
    parent, before = node.getparent(), node.getprevious()
    if node.getnext() is None:  # what follows the last one is the parent's closing indentation
        if before is not None:
            before.tail = node.tail
        else:
            parent.text = None
    parent.remove(node)
    alone = parent.tag == tag("rdf:Description") and parent.getparent().tag == tag("rdf:RDF")
    if alone and not len(parent) and not set(parent.attrib) - {tag("rdf:about")}:
        remove(parent)


def adopt(tree: Any, description: Any) -> None:
    """Take an outer description out of another packet into this one."""
    description.tail = None
    _insert(rdf_of(tree), description)


def length(node: Any) -> int:
    """Return the bytes that an element takes in a packet."""
    from lxml import etree

    return len(etree.tostring(node, encoding="utf-8", with_tail=True))


def sizes(description: Any) -> list[tuple[str, str, int]]:
    """Return (name in Clark's notation, namespace, bytes) of the properties of an outer description."""
    found = {key: len(text.encode()) for key, text in description.attrib.items() if not _is_frame(key)}
    for node in description.iterchildren("*"):
        found[node.tag] = found.get(node.tag, 0) + length(node)
    return [(key, key[1:].partition("}")[0], size) for key, size in found.items()]


def _is_frame(attribute: str) -> bool:
    """Whether an attribute of a description is no property: what it is about, and in which language."""
    return attribute.startswith((f"{{{NAMESPACES['rdf']}}}", f"{{{NAMESPACES['xml']}}}"))


def move(description: Any, name: str, tree: Any) -> None:
    """Move a property (its name in Clark's notation) from an outer description to another packet."""
    from lxml import etree

    kept = {key: text for key, text in description.attrib.items() if _is_frame(key)}
    other = etree.Element(tag("rdf:Description"), kept, nsmap=description.nsmap)
    _insert(rdf_of(tree), other)
    if name in description.attrib:
        other.set(name, description.attrib.pop(name))
    for node in list(description.iterchildren(name)):
        other.append(deepcopy(node))
        remove(node)


def structure(node: Any) -> Any:
    """Return the element that takes the fields of a structure, made ready for it."""
    inner = node.find(tag("rdf:Description"))
    if inner is not None:
        return inner
    fields = {key: text for key, text in node.attrib.items() if not key.startswith(f"{{{NAMESPACES['rdf']}}}")}
    if not fields or len(node):
        if not len(node):
            node.set(tag("rdf:parseType"), "Resource")
        return node
    inner = add(node, "rdf:Description")  # fields as attributes and as elements do not go together in a property
    for key, text in fields.items():
        inner.set(key, text)
        del node.attrib[key]
    return inner


def fill(fields: Any, texts: Mapping[str, str]) -> None:
    """Write fields of a structure, in the form that it has; `fields` comes from `structure` or `holder`."""
    for name, text in texts.items():
        present = children(fields, name)
        as_attributes = not len(fields) and any(not key.startswith("{" + NAMESPACES["rdf"]) for key in fields.attrib)
        if fields.get(tag(name)) is not None or (not present and as_attributes):
            fields.set(tag(name), text)
        elif present:
            inner = holder(present[0]).find(tag("rdf:value"))
            (present[0] if inner is None else inner).text = text
        else:
            add(fields, name).text = text


def clear(fields: Any, name: str) -> None:
    """Take a field of a structure out."""
    fields.attrib.pop(tag(name), None)
    for node in children(fields, name):
        remove(node)


def array(node: Any, kind: str) -> Any:
    """Return the Bag, Seq or Alt of a list property, made as `kind` where there is none.

    A single value in its place becomes its first member.
    """
    for known in ("rdf:Bag", "rdf:Seq", "rdf:Alt"):
        if children(node, known):
            return children(node, known)[0]
    lone = value(node) if not len(node) else ""
    node.text = None
    made = add(node, kind)
    if lone:
        add(made, "rdf:li").text = lone
    return made


class Packet:
    """A packet that is being changed.

    `made` names the properties that were not there before, `changed` tells whether anything is other than it was.
    """

    def __init__(self, tree: Any, made: Iterable[str] = ()) -> None:
        self.tree = tree
        self.made = set(made)
        self.changed = False

    def properties(self, name: str) -> list[Any]:
        """Return the elements of a property."""
        return [prop for node in top(self.tree) for prop in children(node, name)]

    def property(self, name: str) -> Any:
        """Return a property's element, made where there was none."""
        found = self.properties(name)
        if found:
            return found[0]
        self.made.add(name)
        self.changed = True
        return new_property(self.tree, name)

    def drop(self, name: str, node: Any) -> None:
        """Take out a property that photocluster made, and which holds nothing any more."""
        if name in self.made:
            remove(node)
            self.made.discard(name)
            self.changed = True
