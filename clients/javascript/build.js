/** Builds the modules that web hosts serve: each in one file, without white space, and compressed with Brotli. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { build, transform } from "esbuild";
import { minify } from "terser";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = process.argv[2] ?? here("../../adapters/harken_adapters/hosts/http/browser");

const styles = {
  name: "styles",
  setup({ onLoad }) {
    onLoad({ filter: /src\/styles\.js$/ }, async ({ path }) => {
      const { STYLES } = await import(path);
      const { code } = await transform(STYLES, { loader: "css", minify: true });
      return { contents: `export const STYLES = ${JSON.stringify(code.trim())}` };
    });
  },
};

/** Languages without the names of their texts, which are the same in all. */
const languages = {
  name: "languages",
  setup({ onLoad }) {
    onLoad({ filter: /src\/widget-languages\.js$/ }, async ({ path }) => {
      const { LANGUAGES } = await import(path);
      const names = Object.keys(LANGUAGES.es);
      const packed = Object.entries(LANGUAGES).map(([one, texts]) => [one, ...names.map((name) => texts[name])]);
      return {
        contents: `
          const names = ${JSON.stringify(names)};
          export const LANGUAGES = {};
          for (const [one, ...texts] of ${JSON.stringify(packed)}) {
            LANGUAGES[one] = Object.fromEntries(texts.map((text, i) => [names[i], text]));
          }`,
      };
    });
  },
};

const names = ["harken", "widget", "widget-languages"];
await mkdir(target, { recursive: true });
const options = {
  outdir: target,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  external: ["./widget-languages.js"],
  plugins: [styles, languages],
};
await build({ ...options, entryPoints: [here("src/harken.js"), here("src/widget-languages.js")] });
await build({
  ...options,
  entryPoints: [here("src/widget.js")],
  // Names that only the widget uses. They are not stored, and pages do not see them.
  mangleProps:
    /^(accept|askForToken|busy|changes|client|draft|forget|isLoaded|keep|load|loading|onwait|place|receive|renew|replayed|retryAfter|shown|stored|widgets)$/,
});
for (const name of names) {
  const path = `${target}/${name}.js`;
  // Some percent smaller than with esbuild alone.
  const { code } = await minify(await readFile(path, "utf8"), { module: true, compress: { passes: 3, ecma: 2022 } });
  await writeFile(path, code);
  await writeFile(`${path}.br`, brotliCompressSync(code));
}
