#!/bin/bash
# Runs once, when the database is made: one user that may only write, one that may only read.
# The administrator's token stays with the administrator.
set -euo pipefail

user() { # name, secret, right
    influx v1 auth create --org "$DOCKER_INFLUXDB_INIT_ORG" --username "$1" \
        --password "$(cat "/run/secrets/$2")" "$3" "$DOCKER_INFLUXDB_INIT_BUCKET_ID"
}

# InfluxQL and /write name a database; it leads to the bucket.
influx v1 dbrp create --org "$DOCKER_INFLUXDB_INIT_ORG" --default --rp autogen \
    --db "$DOCKER_INFLUXDB_INIT_BUCKET" --bucket-id "$DOCKER_INFLUXDB_INIT_BUCKET_ID"
user gateway influx_gateway_password --write-bucket
user grafana influx_grafana_password --read-bucket
