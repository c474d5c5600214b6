"""What a rewrite must not lose: quotes, numbers, names and negations of the idea."""

from __future__ import annotations

import re

from studio.director.words import CJK

_QUOTES = (
    r"\"[^\"]+\"",
    r"“[^”]+”",
    r"‘[^’]+’",
    r"(?<!\w)'[^']+'(?!\w)",
    r"「[^」]+」",
    r"『[^』]+』",
    r"《[^》]+》",
)
_NUMBER = r"[$€£¥#]?\d+(?:[.,:/]\d+)*(?:%|°|st|nd|rd|th|s|x|k|km|m|cm|mm|px|fps)?"
_NUMBER_WORDS = (
    "one two three four five six seven eight nine ten eleven twelve twenty thirty hundred thousand "
    "dozen half both twice"
)
_NEGATIVE = (
    r"(?:\bno\b|\bnot\b|\bnever\b|\bnobody\b|\bnothing\b|\bnone\b|\bwithout\b|\bneither\b|\bnor\b"
    r"|\b\w+n['’]t\b|\bcannot\b)"
)
_CAPITAL = r"[A-ZÀ-ÖØ-Þ][\w'’.-]*"
_NAME = rf"{_CAPITAL}(?:\s+(?:(?:of|the|de|van|von)\s+)?{_CAPITAL})*"
_CJK_NEGATIVE = rf"(?:没有|不要|不能|不会|从不|别|不|无|没)[{CJK}]{{0,4}}"


def protected(text: str) -> list[tuple[int, int]]:
    """Half-open character ranges of `text` that every rewrite keeps word for word, sorted."""
    found = [m.span() for q in _QUOTES for m in re.finditer(q, text)]
    found += [m.span() for m in re.finditer(_NUMBER, text)]
    words = "|".join(_NUMBER_WORDS.split())
    found += [m.span() for m in re.finditer(rf"\b(?:{words})\b", text, re.IGNORECASE)]
    # A negation is only kept together with what it negates: the three words after it.
    found += [
        m.span() for m in re.finditer(_NEGATIVE + r"(?:\s+[\w'’-]+){0,3}", text, re.IGNORECASE)
    ]
    found += [m.span() for m in re.finditer(_CJK_NEGATIVE, text)]
    found += [m.span() for m in re.finditer(_NAME, text)]
    return _merge(found)


def _merge(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def shorten(text: str, words: int) -> str:
    """`text` with at most `words` blank-separated words, protected ones kept whatever their number.

    Unprotected words are dropped from the end; Chinese runs are dropped clause by clause.
    """
    keep = protected(text)
    tokens = [
        (m.start(), m.end()) for m in re.finditer(rf"[{CJK}]+[，。、；！？]?|[^\s{CJK}]+", text)
    ]
    must = [any(a < stop and start < b for start, stop in keep) for a, b in tokens]
    room = words - sum(_cost(text[a:b]) for (a, b), m in zip(tokens, must, strict=True) if m)
    chosen: list[bool] = []
    for (a, b), held in zip(tokens, must, strict=True):
        cost = _cost(text[a:b])
        take = held or cost <= room
        room -= 0 if held or not take else cost
        if not take and not held:
            room = min(room, 0)
        chosen.append(take)
    return _join(text, [t for t, c in zip(tokens, chosen, strict=True) if c])


def _cost(token: str) -> int:
    chinese = len(re.findall(f"[{CJK}]", token))
    return -(-chinese // 2) if chinese else 1


def _join(text: str, tokens: list[tuple[int, int]]) -> str:
    out, last = "", None
    for a, b in tokens:
        gap = text[last:a] if last is not None else ""
        out += (" " if gap and (gap.isspace() or gap.strip()) else "") + text[a:b]
        last = b
    return out.strip().rstrip(",;，；、")
