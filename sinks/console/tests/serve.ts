// Serves the built console with the made-up engine, for design work and for tests of rare states.
import { readFileSync } from "node:fs";
import { type Server, type ServerResponse, createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type World, answer } from "./world";

const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".json": "application/json" };
const dist = join(fileURLToPath(new URL(".", import.meta.url)), "../dist");

/** The event stream, from when the world has a pulse on. */
function beat(response: ServerResponse, world: () => World): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const timer = setInterval(() => {
    const { epoch, pulse } = world();
    response.write(`event: pulse\ndata: ${JSON.stringify({ epoch, views: pulse ?? [] })}\n\n`);
  }, 250);
  response.on("close", () => clearInterval(timer));
}

/** Starts it on a port, 0 for any free one; `world` may be changed while it runs. */
export function serve(world: () => World, port = 0): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const url = request.url ?? "/";
      if (url === "/login") {
        const isRight = Buffer.concat(chunks).toString() === `token=${world().token}`;
        if (isRight) world().failing.clear();
        return void response.writeHead(isRight ? 303 : 401, isRight ? { location: "/" } : {}).end();
      }
      if (url === "/api/v1/pulse" && world().pulse !== null) return void beat(response, world);
      const { settings } = world();
      if (url === "/console.json" && settings !== null) return void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(settings));
      if (!url.startsWith("/api/") && url !== "/whoami") {
        try {
          const name = url === "/" ? "index.html" : url.slice(1).replace(/[?#].*/, "");
          const bytes = readFileSync(join(dist, name));
          response.writeHead(200, { "content-type": types[extname(name)] ?? "application/octet-stream" }).end(bytes);
        } catch {
          response.writeHead(404).end();
        }
        return;
      }
      const text = Buffer.concat(chunks).toString();
      const reply = answer(world(), request.method ?? "GET", url, text === "" ? null : JSON.parse(text));
      if (reply === null) return void request.socket.destroy();
      const tell = () => response.writeHead(reply.status, { "content-type": "application/json", "x-lsie-epoch": String(world().epoch) }).end(JSON.stringify(reply.body));
      const late = [...world().late].find(([prefix]) => url.startsWith(`/api/v1/${prefix}`))?.[1] ?? 0;
      if (late === 0) tell();
      else setTimeout(tell, late);
    });
  });
  return new Promise((resolve) =>
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      const bound = typeof address === "object" && address !== null ? address.port : port;
      resolve({ server, url: `http://127.0.0.1:${bound}/` });
    }),
  );
}
