from __future__ import annotations

import re

from labkit.widgets.render import duration, escape, shorten, svg_sparkline, text_bar, text_sparkline


def test_escape_leaves_no_tag_no_control_and_no_half_character():
    assert escape('<a href="x">&\x00\ud83d') == "&lt;a href=&quot;x&quot;&gt;&amp;\ufffd\ufffd"
    assert escape("tab\tline\nbreak é 🙂") == "tab\tline\nbreak é 🙂"


def test_shorten_cuts_at_the_limit_and_says_so():
    assert shorten("one\ntwo", 20) == "one two"
    assert shorten("abcdef", 4) == "abc…"


def test_duration_picks_the_unit():
    assert (duration(0.0451), duration(1.239)) == ("45 ms", "1.24 s")


def test_a_bar_starts_and_ends_where_its_share_says():
    assert text_bar(0.25, 0.5, 8, "#") == "  ####  "
    assert text_bar(1.0, 0.0, 8, "#") == "       #"  # too short to draw is still drawn


def test_a_sparkline_scales_to_its_highest_value():
    assert text_sparkline([0, 5, 10]) == "▁▄█"
    assert text_sparkline([0, 0]) == "▁▁" and text_sparkline([]) == ""
    assert len(text_sparkline(range(100), width=30)) == 30


def test_an_svg_sparkline_keeps_inside_its_frame():
    line = re.search(r'polyline points="([^"]*)"', svg_sparkline([0, 50, 999], 100, 3, "CPU"))[1]
    points = [tuple(map(float, point.split(","))) for point in line.split()]
    assert points == [(0, 46), (100, 25), (200, 4)]  # y grows downwards
    assert 'polyline points="0.0,25.0 200.0,25.0"' in svg_sparkline([50], 100, 1, "CPU")
    assert 'aria-label="&lt;b&gt;"' in svg_sparkline([], 1, 3, "<b>")
