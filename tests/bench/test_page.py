"""docs/performance.md from reports."""

from bench.page import page
from bench.report import Goal, Report, Table


def test_every_figure_is_on_the_page_and_what_is_missing_says_so():
    goals = [
        Goal("speed", 2.5, ">=", 1.7),
        Goal("ms", None, "<", 10, "no GPU"),
        Goal("file", 0.5, "<=", 0.3),
    ]
    table = Table("times", ["what", "max|Δ|"], [["a", 1.23456789], ["b", None], ["c", 0.999995]])
    text = page([Report(goals, [table], ["CPU: X"]).to_json("scene")])
    for wanted in (
        "## CPU",
        "| speed | 2.5 | >= 1.7 | met |  |",
        "| ms | – | < 10 | not measured | no GPU |",
        "| file | 0.5 | <= 0.3 | **missed** |  |",
        "| a | 1.2346 |",
        "| b | – |",
        "| c | 0.999995 |",
        r"| what | max\|Δ\| |",
        "random weights",
    ):
        assert wanted in text
