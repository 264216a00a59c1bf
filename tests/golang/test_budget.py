import pytest

from imagekit.golang.budget import Budget, pace, plan


@pytest.mark.parametrize(
    ("targets", "cpus", "cold", "budget"),
    [
        (6, 2, True, Budget(2, 1)),
        (3, 2, True, Budget(1, 2)),
        (3, 2, False, Budget(2, 1)),
        (1, 2, False, Budget(1, 2)),
        (6, 8, True, Budget(6, 2)),
        (9, 4, True, Budget(3, 2)),
        (20, 8, False, Budget(8, 1)),
        (1, 16, True, Budget(1, 16)),
        (0, 0, True, Budget(1, 1)),
    ],
)
def test_the_split(targets: int, cpus: int, cold: bool, budget: Budget) -> None:
    assert plan(targets, cpus, cold=cold) == budget


@pytest.mark.parametrize("cold", [True, False])
def test_no_budget_is_smaller_than_the_cpus_or_wider_than_the_targets(cold: bool) -> None:
    for targets in range(1, 20):
        for cpus in range(1, 33):
            budget = plan(targets, cpus, cold=cold)
            assert cpus <= budget.parallel * budget.cpus < cpus + budget.parallel
            assert budget.parallel <= min(targets, cpus)


@pytest.mark.parametrize(
    ("cpus", "share", "ambient", "paced"),
    [
        (2, 4 << 30, {}, {"GOMAXPROCS": "2", "GOGC": "400", "GOMEMLIMIT": "4294967296"}),
        (0, 4 << 30, {}, {"GOGC": "400", "GOMEMLIMIT": "4294967296"}),
        (1, 512 << 20, {}, {"GOMAXPROCS": "1"}),
        (1, 4 << 30, {"GOGC": "50", "GOFLAGS": "-v"}, {"GOMAXPROCS": "1", "GOGC": "50"}),
        (1, 4 << 30, {"GOMEMLIMIT": "2GiB", "GOGC": ""}, {"GOMAXPROCS": "1", "GOMEMLIMIT": "2GiB"}),
    ],
    ids=["roomy", "all CPUs", "little memory", "the user's collector", "the user's limit"],
)
def test_the_pace(cpus: int, share: int, ambient: dict[str, str], paced: dict[str, str]) -> None:
    assert pace(cpus, share, ambient) == paced
