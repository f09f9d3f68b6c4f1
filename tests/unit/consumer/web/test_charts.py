"""Charts as numbers."""

from consumer.web.charts import HEIGHT, WIDTH, bars, line_charts
from consumer.web.live.sampler import Sample

NOW = 1_700_000_000.0


def sample(ago: float, events: float, kafka: float | None = None) -> Sample:
    return Sample(NOW - ago, events, 0.0, 3, 0.4, kafka, None if kafka is None else 7)


def test_a_figure_is_a_line_up_to_a_round_number() -> None:
    charts = {one.title: one for one in line_charts([sample(3_600, 0), sample(3_570, 30), sample(3_550, 47)], NOW)}
    events = charts["Events a second"]
    assert (events.now, events.most, events.least, events.top) == ("47.0", "47.0", "0.0", "50.0")
    (line,) = events.lines
    assert line.split() == ["0.0,60.0", "2.5,24.0", "4.2,3.6"]
    assert "Behind Kafka" not in charts, "without Kafka there is no such figure"
    assert charts["Profiles due"].now == "3"


def test_a_line_is_broken_where_nothing_was_known() -> None:
    charts = {one.title: one for one in line_charts([sample(900, 1, 2.0), sample(600, 1), sample(0, 1, 130.0)], NOW)}
    assert len(charts["Events a second"].lines) == 3
    assert len(charts["Behind Kafka"].lines) == 2
    assert charts["Behind Kafka"].now == "130 s"


def test_of_too_many_points_the_highest_stay() -> None:
    samples = [sample(3_600 - 5 * number, 900 if number == 401 else 1) for number in range(720)]
    events = line_charts(samples, NOW)[0]
    points = [tuple(map(float, point.split(","))) for point in " ".join(events.lines).split()]
    assert len(points) <= 150
    assert min(y for _, y in points) == HEIGHT - HEIGHT * 900 / 1_000
    assert all(0 <= x <= WIDTH for x, _ in points)


def test_the_axis_begins_with_the_first_sample() -> None:
    chart = line_charts([sample(300, 1), sample(0, 1)], NOW)[0]
    assert chart.since == "300 s"
    assert chart.lines == ["0.0,0.0", "300.0,0.0"]
    assert line_charts([sample(0, 1)], NOW)[0].since == "60 s"


def test_months() -> None:
    found = bars({"2024-01": 2, "2024-02": 0, "2024-03": 4})
    assert len(found) == 12, "at least a year"
    assert (found[0].month, found[-1].month, found[8].comments) == ("2023-04", "2024-03", 0)
    assert [(one.x, one.height) for one in found[9:]] == [(90, 30.0), (100, 0.0), (110, 60.0)]
    assert len(bars({f"{year}-01": 1 for year in range(2000, 2020)})) == 20
    assert bars({}) == []
