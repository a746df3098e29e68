import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const GATEWAY = "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [svelte()],
  worker: { format: "es" },
  build: {
    // The gateway serves this folder as it is, from a list it makes at start.
    outDir: "../../gateway/desk/static",
    emptyOutDir: true,
    target: "es2022",
    // Everything is a plain file of our own server; a data: script would break the content policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1500,
    rolldownOptions: { checks: { pluginTimings: false } }, // how long a plugin took helps nobody who sets up
  },
  // `npm run dev` shows the page against a running gateway (make demo), which wants to see its own name.
  server: {
    host: "127.0.0.1",
    proxy: { "/api": { target: GATEWAY, changeOrigin: true, headers: { origin: GATEWAY } } },
  },
});
