"""What is in the image, and what it does as its operators run it."""

import json
import os
import re
import threading

import pytest

from tests.chat.calls import INTERACTIONS, new, one
from tests.image.containers import DEMO, STAGING, Container, docker
from tests.servers import wait_for


def config_of_image():
    (image,) = json.loads(docker("inspect", os.environ["IMAGE"]).stdout)
    return {"Healthcheck": image.get("Healthcheck"), **image["Config"]}  # Podman's place, Docker's


def test_it_says_what_it_is_and_runs_as_nobody_special():
    config = config_of_image()
    assert config["User"] == "10001:0"
    assert config["Labels"]["org.opencontainers.image.title"] == "Chat interaction store"
    assert "ENVIRONMENT=production" in config["Env"]


def test_without_settings_it_names_what_production_needs_a_line_each():
    with Container() as container:
        assert container.wait() == 1
        lines = container.output.splitlines()
    assert [line.split()[0] for line in lines] == [
        "SECRET_KEY",
        "AWS_REGION",
        "ALLOWED_HOSTS",
        "To",
    ]


def test_the_demo_serves_and_keeps_what_was_saved(volume):
    with Container("-v", volume, **DEMO) as first:
        key = first.wait_until_ready().key
        assert first.request("POST", INTERACTIONS, new(interaction_id="kept"), key)[0] == 201
        assert first.stop() == 0
    with Container("-v", volume, **DEMO) as second:
        second.wait_until_ready()
        assert second.request("GET", one("kept"), key=key)[0] == 200


def test_commands_run_without_a_path_and_nothing_to_install_with_is_there(volume):
    with Container("-v", volume, **DEMO) as container:
        container.wait_until_ready()
        made = container.run("python", "manage.py", "create_api_key", "billing service")
        assert made.returncode == 0, made.stderr
        key = re.search(r"\b\w{8}\.\w{32}\b", made.stdout)[0]
        assert container.request("GET", INTERACTIONS, key=key)[0] == 200
        for module in ("pip", "setuptools"):
            assert container.run("python", "-c", f"import {module}").returncode == 1
        assert container.run("touch", "/app/new").returncode == 1


def test_the_health_check_knows_whether_the_store_can_be_read(volume):
    test = config_of_image()["Healthcheck"]["Test"]
    assert test[0] == "CMD"
    with Container("-v", volume, **DEMO) as container:
        container.wait_until_ready()
        assert container.run(*test[1:]).returncode == 0
        container.run("bash", "-c", "rm /data/chat.sqlite3*")
        # What was found before is remembered for a second.
        wait_for(lambda: container.run(*test[1:]).returncode == 1, "a check that fails")
    with Container(command=["sleep", "60"], **DEMO) as container:
        assert container.run(*test[1:]).returncode == 1


def test_three_that_start_at_once_on_an_empty_volume_all_serve(volume):
    containers = [Container("-v", volume, **DEMO) for _ in range(3)]
    try:
        for container in containers:
            container.wait_until_ready()
        assert len({container.key for container in containers}) == 1
        for container in containers:
            assert container.request("GET", INTERACTIONS, key=container.key)[0] == 200
    finally:
        for container in containers:
            container.__exit__()


def test_a_stop_loses_nothing_that_was_acknowledged(volume):
    acknowledged = []
    with Container("-v", volume, **DEMO) as container:
        key = container.wait_until_ready().key

        def save(client):
            number = 0
            while True:
                name = f"{client}-{number}"
                try:
                    status, _ = container.request(
                        "POST", INTERACTIONS, new(interaction_id=name), key
                    )
                except OSError:
                    return
                if status == 201:
                    acknowledged.append(name)
                number += 1

        clients = [threading.Thread(target=save, args=(client,)) for client in range(8)]
        for client in clients:
            client.start()
        while len(acknowledged) < 100:
            pass
        assert container.stop() == 0
        for client in clients:
            client.join()
    with Container("-v", volume, **DEMO) as container:
        container.wait_until_ready()
        lost = [
            name for name in acknowledged if container.request("GET", one(name), key=key)[0] != 200
        ]
    assert not lost


def test_what_the_demo_printed_opens_nothing_in_staging(volume):
    with Container("-v", volume, **DEMO) as container:
        key = container.wait_until_ready().key
        container.stop()
    with Container("-v", volume, **STAGING) as container:
        container.wait_until_ready()
        assert container.request("GET", INTERACTIONS, key=key)[0] == 401


def test_a_comment_of_an_env_file_does_not_become_part_of_the_key(tmp_path):
    file = tmp_path / "production.env"
    file.write_text("SECRET_KEY=" + "k" * 40 + "   # made on Monday\nENVIRONMENT=staging\n")
    with Container("--env-file", file) as container:
        assert container.wait() == 1
        assert container.output.startswith("SECRET_KEY has a # after a space.")


@pytest.mark.parametrize("command", ["serve", "create_api_key x", "archive_interactions"])
@pytest.mark.parametrize(
    ("mode", "user"), [(0o755, "10001"), (0o700, "10001"), (0o755, "1000660000:0")]
)
def test_a_folder_of_somebody_else_is_a_line_that_says_what_to_do(tmp_path, mode, user, command):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    words = ["python", "manage.py", *command.split()]
    options = ["--user", user, "-v", f"{folder}:/data"]
    with Container(*options, command=words, **STAGING) as container:
        assert container.wait() == 1
        (line,) = container.output.splitlines()
    assert "DATA_DIR=/data cannot be used: Permission denied" in line
    assert f"This runs as user {user.split(':')[0]} of group 0" in line
    assert "/data belongs to user 0 of group 0" in line


def test_with_any_user_of_group_0_it_serves_a_volume(volume):
    """OpenShift chooses the user."""
    with Container("--user", "1000660000:0", "-v", volume, **DEMO) as container:
        container.wait_until_ready()
