"""An authority of a test's own, made with openssl: certificates that are right, late or foreign."""

import subprocess
from pathlib import Path

from tests.conftest import find_tool

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


class Authority:
    """``ca.crt`` in ``folder``, and what it signs."""

    def __init__(self, folder: Path, *, days: int = 1) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        subject = ("-subj", f"/CN=authority {folder.name}")
        self._openssl("req", "-x509", *KEY, *subject, "-days", str(days),
                      "-out", "ca.crt", "-keyout", "ca.key")  # fmt: skip

    @property
    def file(self) -> Path:
        """What a peer needs to believe our certificates."""
        return self.folder / "ca.crt"

    def issue(self, name: str, subject: str, *, days: int = 1) -> tuple[Path, Path]:
        """``name.crt`` and ``name.key`` for ``subject``; with ``days`` -1 it ended yesterday."""
        self._openssl("req", *KEY, "-subj", f"/CN={subject}", "-out", "one.csr",
                      "-keyout", f"{name}.key")  # fmt: skip
        extra = self.folder / "one.ext"
        extra.write_text(f"subjectAltName=IP:{subject}\n" if subject[0].isdigit() else "")
        self._openssl("x509", "-req", "-in", "one.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                      "-extfile", "one.ext", "-days", str(days), "-out", f"{name}.crt")  # fmt: skip
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def _openssl(self, *words: str) -> None:
        program = find_tool("openssl")
        assert program is not None
        subprocess.run([program, *words], cwd=self.folder, check=True, capture_output=True)
