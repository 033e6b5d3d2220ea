"""Numbers in Mandarin: each row of the module's table, and what must stay as it is."""

from __future__ import annotations

import pytest

pytest.importorskip("cn2an")

from reference_models.text.mandarin_numbers import read_numbers, transform


@pytest.mark.parametrize(
    ("text", "official", "fixed"),
    [
        ("1,234", "一,二百三十四", "一千二百三十四"),
        ("1,234,567.5", "一,二百三十四,五百六十七点五", "一百二十三万四千五百六十七点五"),
        ("10-20", "十负二十", "十到二十"),
        ("3~5", "三~五", "三到五"),
        ("10%-20%", "百分之十百分之负二十", "百分之十到百分之二十"),
        ("-5℃", "-五摄氏度", "零下五摄氏度"),
        ("25.5℃", "二十五.五摄氏度", "二十五点五摄氏度"),
        ("2024-01-05", "二千零二十四负一负五", "二零二四年一月五日"),
        ("12:05", "十二:五", "十二点零五分"),
        ("3:1", "三:一", "三比一"),
        ("13800138000", "一百三十八亿零一十三万八千", "一三八零零一三八零零零"),
        ("400-800-1234", "四百负八百负一千二百三十四", "四零零八零零一二三四"),
        ("007", "七", "零零七"),
        ("1.2.3", "一点二.三", "一点二点三"),
        ("10年", "一零年", "十年"),
        ("100年", "一零零年", "一百年"),
        ("90年代", "九零年代", "九十年代"),
        ("5000年", "五零零零年", "五千年"),
        ("¥100", "¥一百", "一百元"),
        ("$3.5亿", "$三点五亿", "三点五亿美元"),
        ("5‰", "五‰", "千分之五"),
        ("3+5=8", "三+五=八", "三加五等于八"),
        ("2个", "二个", "两个"),
        ("〇", "〇", "零"),
        ("５．５", "五．五", "五点五"),
        ("①", "①", "一"),
    ],
)
def test_what_the_modes_read_differently(text: str, official: str, fixed: str) -> None:
    assert transform(text) == official
    assert read_numbers(text) == fixed


@pytest.mark.filterwarnings("ignore::UserWarning")  # cn2an warns of what it leaves
def test_more_digits_than_a_number_has() -> None:
    assert transform("12345678901234567890") == "12345678901234567890"
    assert read_numbers("12345678901234567890") == "一二三四五六七八九零" * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("我有3个", "我有三个"),
        ("1.75米", "一点七五米"),
        ("-3.5", "负三点五"),
        ("0.10", "零点一零"),
        ("50%", "百分之五十"),
        ("1/2", "二分之一"),
        ("2024年1月5日", "二零二四年一月五日"),
        ("99年", "九九年"),
        ("110", "一百一十"),
        ("第3名", "第三名"),
        ("没有数字。", "没有数字。"),
        ("一千零一夜", "一千零一夜"),
    ],
)
def test_what_the_modes_read_alike(text: str, said: str) -> None:
    assert transform(text) == said
    assert read_numbers(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("第2个", "第二个"),
        ("12个", "十二个"),
        ("2月", "二月"),
        ("2点", "两点"),
        ("2:30", "两点三十分"),
        ("12:00", "十二点"),
        ("10:05:03", "十点零五分零三秒"),
        ("9:00-17:00", "九点到十七点"),
        ("2020-2024年", "二零二零到二零二四年"),
        ("1，2，3", "一，二，三"),
        ("+5", "正五"),
        ("气温-5度", "气温负五度"),
        ("021-12345678", "零二一一二三四五六七八"),
        ("25°C", "二十五摄氏度"),
        ("3.", "三."),
        ("", ""),
    ],
)
def test_fixed(text: str, said: str) -> None:
    assert read_numbers(text) == said
