"""`manage.py dynamodb_table` as a process: one plain line, an exit status, no secret."""

import http.server
import json
import threading

import pytest
from django.core.management import CommandError, call_command

from tests.chat.processes import run

REGION = "eu-central-1"
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIDSECRET", "AWS_SECRET_ACCESS_KEY": "hunter2"}


def run_table(folder, *arguments, **values):
    values = {"AWS_REGION": REGION, **SECRETS, **values}
    return run(folder, "dynamodb_table", *arguments, **values)


def lines(result):
    assert result.stdout == b""
    assert b"Traceback" not in result.stderr
    for secret in SECRETS.values():
        assert secret.encode() not in result.stderr
    return result.stderr.decode().splitlines()


@pytest.mark.parametrize("environment", ["development", "production"])
def test_it_works_in_every_environment(tmp_path, dynamodb_server, environment):
    values = {
        "ENVIRONMENT": environment,
        "SECRET_KEY": "a secret key that is long enough for this test",
        "DYNAMODB_ENDPOINT_URL": dynamodb_server.url,
        "DYNAMODB_TABLE": f"in-{environment}",
    }
    assert run_table(tmp_path, "check", **values).returncode == 1
    assert run_table(tmp_path, "create", **values).returncode == 0
    assert run_table(tmp_path, "check", **values).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["delete"], ["check", "more"], ["check", "--delete"]])
def test_wrong_use_is_exit_status_2(tmp_path, arguments):
    assert run_table(tmp_path, *arguments).returncode == 2


@pytest.mark.parametrize("action", ["create", "check", "describe"])
def test_without_a_region_it_says_what_to_set(tmp_path, action):
    result = run_table(tmp_path, action, AWS_REGION="")
    assert result.returncode == 1
    assert lines(result) == [
        "CommandError: AWS_REGION is not set. Set it to the region of the DynamoDB table, "
        "such as eu-central-1."
    ]


def test_a_region_that_is_none_is_refused(tmp_path):
    result = run_table(tmp_path, "check", AWS_REGION="Frankfurt am Main")
    assert result.returncode == 1
    (line,) = lines(result)
    assert "'Frankfurt am Main' is not the name of a region" in line


def test_without_credentials_it_says_where_they_come_from(tmp_path):
    nowhere = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
    }
    result = run_table(tmp_path, "check", **nowhere)
    assert result.returncode == 1
    (line,) = lines(result)
    assert line.startswith("CommandError: There are no AWS credentials.")
    assert "IAM role" in line


def test_where_nothing_listens_it_says_what_to_check(tmp_path):
    url = "http://someone:hunter2@127.0.0.1:1"
    result = run_table(tmp_path, "check", DYNAMODB_ENDPOINT_URL=url)
    assert result.returncode == 1
    (line,) = lines(result)
    assert "Check AWS_REGION and DYNAMODB_ENDPOINT_URL" in line


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers every request with the error code in `code`, or never if that is None."""

    code = None

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.code is None:
            self.server.stopped.wait(60)
            return
        body = json.dumps({"__type": f"com.amazonaws#{self.code}", "message": "No."}).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def refuse():
    """Starts a server that refuses everything with an error code; gives its URL."""
    servers = []

    def refuse(code):
        handler = type("Handler", (Refusing,), {"code": code})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.stopped = threading.Event()
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield refuse
    for server in servers:
        server.stopped.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UnrecognizedClientException", "AWS does not accept the credentials"),
        ("ExpiredTokenException", "AWS does not accept the credentials"),
        (
            "AccessDeniedException",
            r"do not allow DescribeTable .*backup-and-restore\.md\. .* No\.$",
        ),
        ("ValidationException", r"^DynamoDB refused DescribeTable: ValidationException\. No\.$"),
    ],
)
def test_a_refusal_says_what_to_do(settings, refuse, code, words):
    settings.AWS_REGION = REGION
    settings.DYNAMODB_ENDPOINT_URL = refuse(code)
    with pytest.raises(CommandError, match=words) as error:
        call_command("dynamodb_table", "check")
    assert "\n" not in str(error.value)


def test_a_dynamodb_that_never_answers_costs_a_bounded_time(tmp_path, refuse):
    hasty = {"DJANGO_SETTINGS_MODULE": "tests.storage.dynamodb.hasty_settings"}
    url = refuse(None)  # 60 s at most
    result = run_table(tmp_path, "check", DYNAMODB_ENDPOINT_URL=url, **hasty)
    assert result.returncode == 1
    (line,) = lines(result)
    assert "DynamoDB did not complete DescribeTable: ReadTimeoutError." in line
