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
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred hundreds thousand thousands million billion dozen dozens half both twice thrice "
    "single pair couple double triple first second third fourth fifth"
)
_NEGATIVE = (
    r"(?:\bno(?:[- ]one|where)?\b|\bnot\b|\bnever\b|\bnobody\b|\bnothing\b|\bnone\b|\bwithout\b"
    r"|\bneither\b|\bnor\b|\b\w+n['’]t\b|\bcannot\b|\bhardly\b|\bbarely\b|\bscarcely\b|\bfew\b)"
)
_CAPITAL = r"[A-ZÀ-ÖØ-Þ][\w'’.-]*"
_NAME = rf"{_CAPITAL}(?:\s+(?:(?:of|the|de|van|von)\s+)?{_CAPITAL})*"
_CJK_DENIES = "没有|不要|不能|不会|从不|从未|从来|并非|并未|毫无|禁止|别|不|无|没|未|勿|非(?!常)"
_CJK_NEGATIVE = rf"(?:{_CJK_DENIES})[{CJK}]{{0,4}}"
_CJK_NUMBER = (
    r"第?(?:\d+|[〇零一二两三四五六七八九十百千万亿半几]+)"
    r"[个只位盏辆座条张朵颗把头匹次圈下秒分小时天年月层米里公斤块片群双对名号岁杯本封件架艘棵根]"
    r"|第[一二三四五六七八九十百]+"
)
_SURNAMES = (
    "王李张刘陈杨赵吴周徐孙朱胡郭何林罗郑梁谢宋唐许韩冯邓曹彭曾肖董袁潘蒋蔡余杜程苏魏吕丁任沈姚卢"
    "姜崔钟谭陆汪范廖贾韦邹熊孟秦阎薛侯雷龙段郝邵钱汤尹黎易武戴莫孔向"
)
_NOT_IN_NAME = "的了在和与是着说把被从向往里上下中对给跑走吃喝看不没有也都就，。"
_CJK_NAME = (
    rf"(?:名叫|名为|叫做|叫作|叫)[^{_NOT_IN_NAME}\s\d]{{1,4}}"
    rf"|(?<![{CJK}])[{_SURNAMES}][^{_NOT_IN_NAME}\s\d]{{1,2}}(?=[{_NOT_IN_NAME}]|$)"
    rf"|(?<=[和与对给跟])[{_SURNAMES}][^{_NOT_IN_NAME}\s\d]{{1,2}}"
    r"|(?:小|阿|老)[明红丽华强刚芳军龙宝兰梅文美王李张刘陈]"
    rf"|(?<=[在从到去往])[^{_NOT_IN_NAME}\s\d]{{1,6}}[山市省县镇村岛湖江河寺庙塔宫桥街路站国峰滩门州港]"
    r"|北京|上海|广州|深圳|香港|台北|西安|成都|重庆|南京|杭州|苏州|武汉|天津|长城|故宫|黄山|泰山|西湖|长江|黄河"
    r"|中国|日本|东京|京都|美国|纽约|法国|巴黎|英国|伦敦|德国|柏林|意大利|罗马|威尼斯|埃及|印度|俄罗斯|莫斯科"
)


def protected(text: str) -> list[tuple[int, int]]:
    """Half-open character ranges of `text` that every rewrite keeps word for word, sorted."""
    found = quoted(text)
    found += [m.span() for m in re.finditer(_NUMBER, text)]
    words = "|".join(_NUMBER_WORDS.split())
    found += [m.span() for m in re.finditer(rf"\b(?:{words})\b", text, re.IGNORECASE)]
    found += negated(text)
    found += [m.span() for p in (_NAME, _CJK_NUMBER, _CJK_NAME) for m in re.finditer(p, text)]
    return _merge(found)


def quoted(text: str) -> list[tuple[int, int]]:
    """Half-open ranges of quotations with their marks, and of titles in brackets."""
    return [m.span() for q in _QUOTES for m in re.finditer(q, text)]


def negated(text: str) -> list[tuple[int, int]]:
    """Half-open ranges of negations together with what they negate: the three words after."""
    found = re.finditer(_NEGATIVE + r"(?:\s+[\w'’-]+){0,3}", text, re.IGNORECASE)
    return [m.span() for m in (*found, *re.finditer(_CJK_NEGATIVE, text))]


def denies(word: str) -> bool:
    """Whether a listed word is itself a negation ("does not move"), so that it may be one."""
    return bool(negated(word))


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
