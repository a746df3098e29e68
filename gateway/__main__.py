"""``python -m gateway`` is ``pdt-gateway``."""

from gateway.cli import main

main()
