option task = {name: "pdt minutes", every: 30m, offset: 2m}

from(bucket: "pdt")
    |> range(start: -6h)
    |> filter(fn: (r) => r._measurement == "position")
    |> filter(fn: (r) => r._field == "lat" or r._field == "lon" or r._field == "lat_gcj" or r._field == "lon_gcj" or r._field == "altitude_m" or r._field == "speed_mps" or r._field == "course_deg" or r._field == "accuracy_m" or r._field == "satellites" or r._field == "battery_pct" or r._field == "rssi_dbm")
    |> aggregateWindow(every: 1m, fn: last, timeSrc: "_start", createEmpty: false)
    |> to(bucket: "pdt/minutes")
