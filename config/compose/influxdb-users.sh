#!/bin/bash
# Runs once, when the database is made: places that keep for different times, one user that may only
# write, one that may only read. The administrator's token stays with the administrator.
# What `pdt-gateway influx setup` makes elsewhere is made here: it would want that token.
set -euo pipefail

org=$DOCKER_INFLUXDB_INIT_ORG
db=$DOCKER_INFLUXDB_INIT_BUCKET
ids=("$DOCKER_INFLUXDB_INIT_BUCKET_ID")

name() { # retention policy, bucket id, more: InfluxQL and /write name a database; it leads to the bucket
    influx v1 dbrp create --org "$org" --db "$db" --rp "$1" --bucket-id "$2" "${@:3}"
}

place() { # retention policy, how long
    influx bucket create --org "$org" --name "$db/$1" --retention "$2"
    id=$(influx bucket list --org "$org" --name "$db/$1" --hide-headers | cut -f 1)
    name "$1" "$id"
    ids+=("$id")
}

user() { # name, secret, right
    rights=()
    for id in "${ids[@]}"; do rights+=("$3" "$id"); done
    influx v1 auth create --org "$org" --username "$1" \
        --password "$(cat "/run/secrets/$2")" "${rights[@]}"
}

name autogen "${ids[0]}" --default
place minutes 180d
place alarms 1830d
influx task create --org "$org" --file /etc/pdt/minutes.flux
user gateway influx_gateway_password --write-bucket
user grafana influx_grafana_password --read-bucket
