"""`import_interactions --format`: files of other tools."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from chat import importing
from chat.ingest import counts
from chat.ingest.litellm import translate
from chat.maintenance.erasure import ledger
from chat.management import import_of_tool
from storage.compat import zstd
from storage.exceptions import StorageUnavailable
from storage.records.json import format_time
from storage.records.pages import PageQuery
from tests.chat.ingest.otlp import BODIES
from tests.chat.ingest.test_files import entry, observation, output, request, step
from tests.chat.ingest.test_litellm import LIBRARY, record, recorded
from tests.chat.lines import command, line, lines

pytestmark = pytest.mark.every_backend(exhaustive=True)

LOGS = BODIES / "llm-0.36" / "logs.json"
DRY = " Nothing was written: this was a dry run."


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """What was counted, by source: how many were received, and created."""
    found = {}

    def note(source, taken):
        received, created = found.get(source, (0, 0))
        found[source] = received + taken.received, created + taken.created

    monkeypatch.setattr(counts, "record", note)
    return found


@pytest.fixture
def file(storage, tmp_path):
    """Writes values as lines of JSON, or bytes, and gives the path."""

    def write(*values, name="file.jsonl"):
        path = tmp_path / name
        content = b"".join(
            value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"
            for value in values
        )
        path.write_bytes(content)
        return path

    return write


def of_llm(path, *options):
    return command("import_interactions", "--format", "llm", "--user", "ada", path, *options)


def summary(created=0, unchanged=0, conflict=0, left_out=0, dry=False):
    return (
        f"{created} created, {unchanged} unchanged, {conflict} in conflict, {left_out} left out."
        f"{DRY if dry else ''}"
    )


def kept(storage):
    found = storage.list_interactions_sync(PageQuery(limit=200)).interactions
    return sorted(one.interaction_id for one in found)


@pytest.mark.every_backend
def test_the_logs_of_llm(storage, counted):
    number = len(json.loads(LOGS.read_bytes()))
    dry, (status, said, errors) = of_llm(LOGS, "--dry-run"), of_llm(LOGS)
    steps = number - len(kept(storage))
    assert (status, errors) == (0, "")
    assert said.splitlines()[0] == summary(created=number - steps, left_out=steps)
    assert said.splitlines()[1].startswith(f"  {steps} tool_step: ")
    assert counted == {"file:llm": (number, number - steps)}
    assert dry[1].replace(DRY, "") == said
    again = summary(unchanged=number - steps, left_out=steps)
    for options in ((), ("--dry-run",)):
        status, said, _ = of_llm(LOGS, *options)
        assert (status, said.splitlines()[0].replace(DRY, "")) == (0, again)


def test_a_dry_run_writes_nothing_and_counts_the_same(storage, file, counted):
    taken = entry(id="taken")
    of_llm(file(taken))
    counted.clear()
    path = file(
        taken | {"response": "Another."},
        entry(id="a"),
        entry(id="a"),
        entry(id="a", response="Another."),
        taken,
        b"nonsense\n",
        step(1),
    )
    dry = of_llm(path, "--dry-run")
    assert kept(storage) == ["taken"]
    assert counted == {}
    assert dry[0] == 1
    assert dry[1].splitlines()[0] == summary(1, 2, 2, 2, dry=True)
    assert (dry[0], dry[1].replace(DRY, ""), dry[2]) == of_llm(path)
    assert kept(storage) == ["a", "taken"]


def test_a_dry_run_of_our_own_form(file, storage):
    path = file(lines(3), b"bad\n")
    status, said, errors = command("import_interactions", "--dry-run", path)
    assert (status, said) == (1, f"3 created, 0 unchanged, 0 in conflict, 1 bad lines.{DRY}\n")
    assert errors.startswith("line 4: ")
    assert kept(storage) == []


def test_a_file_of_a_tool_without_format_is_told_of_it(file, storage):
    of_a_tool = command("import_interactions", file(b"[\n", b"{}\n", b"]\n"))
    assert (of_a_tool[0], "--format llm" in of_a_tool[1]) == (1, True)
    with_a_bad_line = command("import_interactions", file(lines(1), b"bad\n"))
    assert (with_a_bad_line[0], "--format" in with_a_bad_line[1]) == (1, False)


def test_records_of_litellm_and_their_users(file, storage):
    records = [record(litellm_call_id="a"), record(litellm_call_id="b", end_user=None)]
    path = file(*records, *recorded(LIBRARY, "failure"))
    status, said, errors = command("import_interactions", "--format", "litellm", path)
    assert (status, said.splitlines()[0]) == (1, summary(created=1, left_out=2))
    assert errors == "line 2: no_user: Say whose they are: --user USER.\n"
    status, said, errors = command(
        "import_interactions", "--format", "litellm", "--user", "eve", path
    )
    assert (status, said.splitlines()[0], errors) == (0, summary(1, 1, left_out=1), "")
    assert storage.get_interaction_sync("a").user_id == "ada"
    assert storage.get_interaction_sync("b").user_id == "eve"


def test_a_call_that_came_with_other_steps_is_there_already(file, storage):
    """As if the tool had sent it once more: an export of another period divides turns elsewhere."""

    def imported(*options, **fields):
        path = file(record(litellm_call_id="a", **fields))
        return command("import_interactions", "--format", "litellm", path, *options)

    assert imported(completion_tokens=1)[0] == 0
    for options in (["--dry-run"], []):
        status, said, errors = imported(*options, completion_tokens=9)
        assert (status, errors) == (0, "")
        assert said.startswith("0 created, 1 unchanged, 0 in conflict")
    assert storage.get_interaction_sync("a").output_tokens == 1
    assert imported(completion_tokens=1, end_user="bob")[0] == 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_the_files_of_a_batch_may_be_compressed(tmp_path, storage, pack):
    ending = {bytes: "", gzip.compress: ".gz", zstd.compress: ".zst"}[pack]
    answers, requests = tmp_path / f"output.jsonl{ending}", tmp_path / f"input.jsonl{ending}"
    answers.write_bytes(pack(json.dumps(output()).encode()))
    requests.write_bytes(pack(json.dumps(request(user="ada")).encode()))
    found = command("import_interactions", "--format", "openai", answers, "--requests", requests)
    assert found == (0, summary(created=1) + "\n", "")
    assert storage.get_interaction_sync("batch_req_1").message == "What is a heap?"


def test_requests_that_are_not_there(file):
    arguments = ("import_interactions", "--format", "openai", file(output()))
    status, _, errors = command(*arguments, "--requests", "/nowhere/input.jsonl")
    assert (status, "/nowhere/input.jsonl" in errors) == (1, True)
    status, _, errors = command(*arguments)
    assert (status, "--requests FILE" in errors) == (1, True)


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_requests_that_were_cut_short_are_named(file, tmp_path, ending):
    """Not the file of answers, which is whole."""
    pack = gzip.compress if ending == "gz" else zstd.compress
    requests = tmp_path / f"input.jsonl.{ending}"
    for content in (pack(json.dumps(request()).encode())[:-9], b"nothing of the kind"):
        requests.write_bytes(content)
        arguments = ("import_interactions", "--format", "openai", file(output()))
        status, _, errors = command(*arguments, "--requests", requests)
        assert (status, f"{requests} cannot be read: " in errors) == (1, True)


def test_observations_of_langfuse_from_standard_input(standard_input, storage):
    standard_input(json.dumps([observation(), observation(type="SPAN")]).encode())
    status, said, errors = command("import_interactions", "--format", "langfuse", "-")
    assert (status, said.splitlines()[0], errors) == (0, summary(created=1, left_out=1), "")
    assert storage.get_user_interactions_sync("bob", 5)[0].response == "A tree."


WRONG_USE = {
    "llm without a user": (["--format", "llm"], "needs --user USER"),
    "our own form with a user": (["--user", "ada"], "names its user"),
    "requests of another format": (
        ["--format", "llm", "--user", "ada", "--requests", "x"],
        "--format openai",
    ),
}


@pytest.mark.parametrize(("options", "reason"), WRONG_USE.values(), ids=WRONG_USE)
def test_options_that_do_not_go_together(file, storage, options, reason):
    status, said, errors = command("import_interactions", file(entry()), *options)
    assert (status, said) == (2, "")
    assert reason in errors
    assert kept(storage) == []


def test_at_most_some_lines_about_a_reason_and_none_about_what_nobody_can_mend(file, monkeypatch):
    monkeypatch.setattr(import_of_tool, "DETAILS", 3)
    nameless = [entry(id=f"{number}", model="", response_json={}) for number in range(2)]
    path = file(*[b"bad\n"] * 5, *nameless, *map(step, range(9)))
    status, said, errors = of_llm(path)
    assert status == 1
    assert said.splitlines()[0] == summary(left_out=16)
    assert [text.split(":")[0] for text in errors.splitlines()] == [
        "line 1",
        "line 2",
        "line 3",
        "... and more like these; from here on they are only counted",
        "line 6",
        "line 7",
    ]
    assert {text.split(":")[0].strip() for text in said.splitlines()[1:]} == {
        "9 tool_step",
        "5 invalid",
        "2 no_model",
    }


def test_what_is_older_than_is_kept_is_counted_and_no_error(file, storage, settings):
    settings.RETENTION_TOTAL_DAYS = 90
    now = datetime.now(UTC)
    old = entry(id="old", datetime_utc=(now - timedelta(days=91)).isoformat())
    path = file(old, entry(id="new", datetime_utc=(now - timedelta(days=89)).isoformat()))
    status, said, errors = of_llm(path)
    assert (status, errors) == (0, "")
    assert said.splitlines()[0] == summary(created=1, left_out=1)
    assert "1 expired" in said
    assert kept(storage) == ["new"]


def test_an_array_that_is_broken_keeps_what_came_before(file, storage):
    path = file(b"[" + json.dumps(entry()).encode() + b', {"prompt": secret}]')
    status, said, errors = of_llm(path)
    assert (status, said) == (1, "")
    assert "After entry 1 it is not JSON" in errors
    assert "secret" not in errors
    # What the mistake has interrupted is a step that is not saved; mended, all of it is.
    assert of_llm(file(entry()))[0] == 0
    assert len(kept(storage)) == 1


@pytest.mark.every_backend
def test_an_interrupted_import_goes_on_where_it_ended(file, storage, monkeypatch):
    monkeypatch.setattr(importing, "STEP", 10)
    path = file(*(entry(id=f"{number:04}") for number in range(25)))
    create, calls = storage.create_interactions_sync, []

    def fail_once(interactions):
        calls.append(len(interactions))
        if len(calls) == 2:
            raise StorageUnavailable
        return create(interactions)

    monkeypatch.setattr(storage, "create_interactions_sync", fail_once)
    status, _, errors = of_llm(path)
    assert (status, "Run it again to go on." in errors) == (1, True)
    assert summary(created=10).rstrip(".") in errors
    assert of_llm(path)[:2] == (0, summary(created=15, unchanged=10) + "\n")


def test_few_entries_with_long_texts_are_in_memory_at_once():
    """Five hundred of 60 MB were 30 GB."""
    read = []

    def entries(file):
        for number in range(10):
            read.append(number)
            texts = [{"role": "user", "content": "x" * 7_000_000}]
            yield translate(record(litellm_call_id=f"{number}", messages=texts), f"line {number}")

    form = import_of_tool.FormOfTool(entries, None, print)
    places = [(place, len(read)) for place, _ in form.placed(None)]
    assert [place for place, _ in places] == [f"line {number}" for number in range(10)]
    assert max(count - number for number, (_, count) in enumerate(places)) == 3


@pytest.mark.every_backend
def test_who_was_erased_does_not_come_back(file, storage):
    path = file(entry(), entry(id="other"))
    receipt = {"finished_at": format_time(datetime.now(UTC))}
    ledger.finish(storage.archive, ledger.request(storage.archive, "ada"), receipt)
    for options in (("--dry-run",), ()):
        status, said, errors = of_llm(path, *options)
        assert (status, "2 of erased users left out" in said) == (1, True)
        assert errors.count("was erased") == 2
    assert kept(storage) == []
    assert of_llm(path, "--even-if-erased")[0] == 0
    assert len(kept(storage)) == 2


def test_our_own_form_is_as_before(file, storage):
    for options in ((), ("--format", "own")):
        assert command("import_interactions", file(line()), *options)[0] == 0
    assert kept(storage) == ["i000000"]
