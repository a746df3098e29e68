// Takes the addresses of sponsors out of a lock: it shall name packages and hashes, and no host.
// node tidy-lock.mjs [folder]: this folder's lock, or another one's.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const file = join(process.argv[2] ?? import.meta.dirname, "package-lock.json");
const lock = JSON.parse(readFileSync(file, "utf8"));
for (const entry of Object.values(lock.packages)) {
  delete entry.funding;
  delete entry.resolved;
}
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
