import { defineConfig } from "vite";

const server = process.env["MYELIN"] ?? "http://127.0.0.1:8000";

// File names carry no content hash: the output is committed and compared byte for byte, and the Go handler's
// strong ETag does what a hash in the name would do.
export default defineConfig({
  base: "./",
  server: {
    proxy: {
      "/connection": { target: server, ws: true },
      "/emulation": server,
    },
  },
  build: {
    outDir: process.env["CONSOLE_OUT"] ?? "../dist",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    license: { fileName: "licenses.md" },
    rolldownOptions: {
      output: {
        entryFileNames: "app.js",
        chunkFileNames: "[name].js",
        assetFileNames: (asset) => (asset.names.some((name) => name.endsWith(".css")) ? "app.css" : "[name][extname]"),
      },
    },
  },
});
