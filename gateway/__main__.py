"""``python -m gateway`` is ``pdt-gateway``."""

from gateway.cli.main import main

main()
