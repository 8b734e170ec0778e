"""The licences of all parts: a list, then every text once."""

from __future__ import annotations

from binary.parts import Part

_RULE = "=" * 80


def document(parts: list[Part]) -> str:
    """Return the document, as plain text."""
    width = max(len(f"{part.name} {part.version}") for part in parts)
    lines = ["What spegel is made of, and under which licences; the texts follow.", ""]
    lines += [f"{f'{part.name} {part.version}':{width}}  {part.licence}" for part in parts]
    of_text: dict[str, list[str]] = {}
    for part in parts:
        for text in part.texts:
            of_text.setdefault(text, []).append(part.name)
    for text, names in of_text.items():
        lines += ["", _RULE, ", ".join(dict.fromkeys(names)), _RULE, "", text]
    return "\n".join(lines) + "\n"
