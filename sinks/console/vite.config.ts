// Builds the console into dist/, under fixed names, each also as .gz, with the licences: the engine embeds them.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** What a browser loads first may weigh this much compressed, bytes. */
const MOST_BYTES = 300 * 1024;

/** The licences of what is in the bundle, which must go with it. */
function licences(): string {
  const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as { dependencies: Record<string, string> };
  const packages = ["@preact/signals-core", ...Object.keys(dependencies)].sort();
  const texts = packages.map((name) => {
    const folder = join("node_modules", name);
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${name} has no licence file`);
    return `${name}\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
  return texts.join(`\n${"-".repeat(72)}\n\n`);
}

function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      writeFileSync(join("dist", "licences.txt"), licences());
      let total = 0;
      for (const name of readdirSync("dist")) {
        if (!/\.(html|js|css|svg|woff2)$/.test(name)) continue;
        const bytes = readFileSync(join("dist", name));
        if (name.endsWith(".woff2")) {
          total += bytes.length;
          continue;
        }
        const packed = gzipSync(bytes, { level: 9 });
        total += packed.length;
        writeFileSync(join("dist", `${name}.gz`), packed);
      }
      if (total > MOST_BYTES) throw new Error(`the console weighs ${total} bytes compressed, at most ${MOST_BYTES}`);
      console.log(`compressed: ${(total / 1024).toFixed(1)} KiB of at most ${MOST_BYTES / 1024} KiB`);
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [compressed()],
  // The engine serves the API; while working on the console, name it with LSIE_ENGINE.
  server: { proxy: { "/api": process.env.LSIE_ENGINE ?? "http://127.0.0.1:8000" } },
  build: {
    target: "es2022",
    // dist/.gitignore is tracked, so that the folder exists for a build of the engine without Node.
    emptyOutDir: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        entryFileNames: "console.js",
        chunkFileNames: "console-[name].js",
        assetFileNames: (asset) => (asset.names[0]?.endsWith(".css") ? "console.css" : "[name][extname]"),
      },
    },
  },
});
