"""The admin behaves the same under Django's own theme, which is chosen when a process starts."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TESTS = ["tests/chat/admin/test_interactions.py", "tests/chat/admin/test_access.py"]


def test_the_other_theme_passes_the_same_tests(tmp_path):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST")
    }
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *TESTS],
        cwd=ROOT,
        env=environment | {"ADMIN_THEME": "django", "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:]
