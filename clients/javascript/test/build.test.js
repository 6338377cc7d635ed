/** The modules that web hosts serve are built from this source, and are small. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliDecompressSync } from "node:zlib";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const served = here("../../../adapters/harken_adapters/hosts/http/browser");
/** The bounds in bytes, compressed with Brotli. */
const BOUNDS = { "widget.js": 8192, "widget-languages.js": 3072, "harken.js": 3072 };

test("a new build gives the modules that are served", async (t) => {
  const built = await mkdtemp(join(tmpdir(), "harken-"));
  t.after(() => rm(built, { recursive: true }));
  await promisify(execFile)(process.execPath, [here("../build.js"), built]);
  assert.deepEqual(await readdir(built), await readdir(served));
  for (const name of Object.keys(BOUNDS)) {
    const module = await readFile(join(served, name), "utf8");
    assert.ok((await readFile(join(built, name), "utf8")) === module, `${name} differs. Run: make javascript`);
    // Versions of Brotli compress differently.
    const decompressed = brotliDecompressSync(await readFile(join(served, `${name}.br`))).toString();
    assert.ok(decompressed === module, `${name}.br differs. Run: make javascript`);
  }
});

for (const [name, bound] of Object.entries(BOUNDS)) {
  test(`${name} has at most ${bound} bytes compressed`, async (t) => {
    const { length } = await readFile(join(served, `${name}.br`));
    t.diagnostic(`${name}: ${length} bytes`);
    assert.ok(length <= bound, `${length} bytes`);
  });
}
