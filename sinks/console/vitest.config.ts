// Units in src, browser tests in tests; the latter wait for what a page shows.
import { defineConfig } from "vitest/config";

export default defineConfig({ test: { testTimeout: 90_000, hookTimeout: 90_000 } });
