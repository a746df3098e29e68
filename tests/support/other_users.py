"""Programs that a test runs as another user than root, as a service is."""

import os
import subprocess
import sys

from tests.support.documents import ROOT


def why_not(user: int, group: int) -> str:
    """Why the gateway cannot be run as this user here; "" where it can."""
    if os.geteuid() != 0:
        return "needs root: the service is another user than the one who installs"
    tried = subprocess.run(
        [sys.executable, "-c", "import gateway"], check=False, capture_output=True, cwd=ROOT,
        user=user, group=group, extra_groups=[],
    )  # fmt: skip
    return "needs a checkout that others than root may read" if tried.returncode else ""
