"""The Grafana dashboards and alerts, built in Python and written by ``tools.write_dashboards``.

A file for each dashboard; ``queries`` has what they ask, ``panels`` and ``maps`` how it looks. Each
dashboard is built twice: Chinese under its uid, English under the uid with ``-en``.
"""
