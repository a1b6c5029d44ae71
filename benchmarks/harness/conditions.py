"""What must hold of the figures of `growth.py`, on the large store."""

from dataclasses import dataclass

from harness.grown import Figure

MB = 1_000_000
MIB = 1024 * 1024
LONGEST_WAIT = 1.0
RESTORE_SECONDS = 300
ROW_BYTES = 900
"""One row as a line of JSON."""

Condition = tuple[str, bool]


@dataclass(frozen=True)
class Both:
    """The figures of one line, of the small store and of the large one, and the large store."""

    small: Figure
    large: Figure
    database: int
    """Bytes of the large database."""

    def ratio(self, name: str) -> float:
        """How many times as much the large one costs."""
        return ratio_of(getattr(self.large.cost, name), getattr(self.small.cost, name))

    # Conditions.

    def done(self) -> Condition:
        cost = self.large.cost
        return "done", cost.status == 0

    def waits(self) -> Condition:
        figure = self.large
        return (
            "nobody waits 1 s or is refused",
            figure.longest <= LONGEST_WAIT and not figure.failed,
        )

    def cpu(self, times: float) -> Condition:
        # A tenth of a second is what two starts differ by.
        most = times * max(self.small.cost.cpu, 0.1)
        return f"CPU at most {times:g} x the small one's", self.large.cost.cpu <= most

    def cpu_seconds(self, most: float) -> Condition:
        return f"CPU at most {most:g} s", self.large.cost.cpu <= most

    def memory(self, mib: int) -> Condition:
        return f"memory at most {mib} MB", self.large.cost.memory <= mib * MIB

    def disk(self, mib: int) -> Condition:
        return f"at most {mib} MB more disk", self.large.cost.disk <= mib * MIB

    def read(self, most: float, what: str) -> Condition:
        return f"reads at most {what} ({most / MB:,.1f} MB)", self.large.cost.read <= most

    def written(self, most: float, what: str) -> Condition:
        return f"writes at most {what} ({most / MB:,.1f} MB)", self.large.cost.written <= most


def ratio_of(large: float, small: float) -> float:
    return large / small if small else float("inf" if large else 1)


def conditions(title: str, both: Both) -> list[Condition]:
    """The conditions of a line."""
    large = both.large
    done, waits = both.done(), both.waits()
    if title == "`storage_status`":
        return [done, waits, both.read(4 * MB, "4 MB")]
    if title == "cold read by id":
        return [waits, ("unpacks at most 64 KB", large["unpacked"] <= 64 * 1024)]
    if title.startswith("tier=archive"):
        times = ratio_of(
            large.cost.cpu / max(large["rows"], 1), both.small.cost.cpu / max(both.small["rows"], 1)
        )
        return [
            waits,
            (f"no page is short ({large['short']} of {large['pages']})", large["short"] == 0),
            (f"CPU a row at most 3 x the small one's ({times:.2f})", times <= 3),
        ]
    if title.startswith("`export_user`"):
        most = 20 * large["result"] + 2 * MB
        return [done, waits, both.read(most, "20 x its result and 2 MB")]
    if title in ("`backup`, the first", "`backup`, something changed"):
        return [done, waits, both.read(3 * both.database, "3 x the database")]
    if title == "`backup`, nothing changed":
        return [done, waits, both.written(both.database / 100, "1 % of the database")]
    if title.startswith("`verify_backup"):
        return [done, waits, both.read(2 * both.database, "2 x the database")]
    if title == "`erase_user`, 3 cold rows":
        receipt = "a receipt", large["receipt"]
        return [receipt, both.cpu(3), both.memory(150), both.disk(64), waits]
    if title == "`erase_user`, average":
        cold = both.large.cost.said.get("counts", {}).get("cold", 0)
        most = 20 * max(cold, 1) * ROW_BYTES + 2 * MB
        return [
            ("a receipt", large["receipt"]),
            both.cpu_seconds(10),
            both.read(most, f"20 x the bytes of its {cold} rows and 2 MB"),
            waits,
        ]
    if title.startswith("`erase_user --pending`"):
        return [done, both.memory(150), both.disk(64), waits]
    if title == "`erase_user`, very many hot rows":
        return [
            (f"at least 10,000 rows a second ({large['rate']:,.0f})", large["rate"] >= 10_000),
            waits,
        ]
    if title == "`restore`":
        in_time = large.cost.seconds <= RESTORE_SECONDS
        return [
            done,
            ("at most 5 minutes", in_time),
            ("erased users are gone, all stubs are there", large["true"]),
        ]
    if title == "a migration that builds an index":
        longest = large["longest"]
        short = longest <= LONGEST_WAIT
        said = "says first that servers must be stopped" if large["said"] else "says nothing"
        return [done, (f"nobody waits 1 s ({longest:.2f} s), or it {said}", short)]
    if title.startswith("nightly") or title == "the night in all":
        return [done, waits]
    return []


def small_conditions(title: str, figure: Figure) -> list[Condition]:
    """The conditions of lines that need the small store alone."""
    if "legal holds" in title:
        once = figure["extra"] <= 1.5 * figure["documents"]
        return [("done", figure.cost.status == 0), ("holds are read once", once)]
    if "pending erasures" in title:
        return [
            ("done", figure.cost.status == 0),
            (f"a request costs the same ({figure['request']:.2f} x)", figure["request"] <= 1.5),
            (f"so does finishing one ({figure['each']:.2f} x)", figure["each"] <= 1.5),
        ]
    return []
