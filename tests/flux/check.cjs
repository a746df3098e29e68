// Says of each Flux script whether InfluxData's own parser and type checker take it.
// stdin: a JSON list of scripts; stdout: a JSON list of truth values.
const { readFileSync } = require("node:fs");
const { Flux } = require("@influxdata/flux-lsp-node");

const scripts = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(scripts.map((script) => new Flux(script).is_valid())));
