import pytest


@pytest.mark.parametrize(
    ("name", "value", "holds"),
    [
        ("api/real/1/plain_drf/cpu/get by id", 32.0, True),
        ("api/real/1/plain_drf/cpu/get by id", 31.9, False),
        ("storage/real/200000/save", 1.2, True),
        ("storage/real/200000/save", 1.21, False),
    ],
)
def test_a_goal_is_a_bound_of_the_median(name, value, holds):
    from harness.goals import verdicts
    from harness.ratios import Ratio

    table, all_hold = verdicts({name: Ratio(value, 0.0, 99.0)}, "real")
    line = next(line for line in table.splitlines() if name in line)
    assert all_hold is holds
    assert line.endswith("| yes |" if holds else "| NO |")


def test_what_was_not_measured_is_said():
    from harness.goals import verdicts

    table, all_hold = verdicts({}, "real")
    assert all_hold
    assert "| NO |" not in table
    assert "| yes |" not in table


def test_a_ratio_is_of_rounds_and_survives_a_file(tmp_path):
    from harness.ratios import Ratio, load, ratio, save

    found = {"x": ratio([(2, 1), (9, 3), (8, 2)])}
    save(found, tmp_path / "ratios.json")
    assert load(tmp_path / "ratios.json") == found == {"x": Ratio(3, 2, 4)}


def test_growth_is_compared_with_that_of_raw():
    from harness.ratios import Ratio
    from storage_calls import growth_of

    found = {"s/10/get": Ratio(1.5, 1.0, 2.0), "s/20/get": Ratio(3.0, 2.0, 4.0)}
    assert growth_of(found, "s", 10, 20) == {"s/growth/get": Ratio(2.0, 1.0, 4.0)}


def test_every_goal_of_the_api_is_one_of_its_ratios():
    from dataclasses import replace

    from harness.contestants import CHAT_STORE, CONTESTANTS, build_slug
    from harness.goals import PREDECESSOR, goals
    from harness.measure import OPERATIONS, Round
    from harness.report import ratios

    predecessor = replace(CHAT_STORE, slug=build_slug(PREDECESSOR))
    results = {
        (contestant, operation): [Round(1.0, 1.0, 1.0, 1.0, 1.0)]
        for contestant in (*CONTESTANTS.values(), predecessor)
        for operation in OPERATIONS
    }
    found = {name for workers in (1, 2, 4) for name in ratios(results, f"api/real/{workers}")}
    assert {goal.name for goal in goals("real") if goal.name.startswith("api/")} <= found


def test_every_other_goal_is_of_a_call_that_is_measured():
    from harness.goals import STORAGE_AT_MOST
    from storage_calls import COUNTS

    assert {name.partition(" as ")[0] for name in STORAGE_AT_MOST} == {*COUNTS}
