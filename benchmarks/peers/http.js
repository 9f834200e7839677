// node http.js node|fastify|express PORT: one small JSON answer, as each one's own documentation writes it.
import { createServer } from "node:http";
import express from "express";
import Fastify from "fastify";

const [kind, port] = process.argv.slice(2);
const alive = { status: "alive" };

if (kind === "node") {
  createServer((request, response) => {
    if (request.method !== "GET" || request.url !== "/health/live") return response.writeHead(404).end();
    const body = JSON.stringify(alive);
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    response.end(body);
  }).listen(Number(port), "127.0.0.1");
} else if (kind === "fastify") {
  const app = Fastify();
  app.get("/health/live", async () => alive);
  app.listen({ port: Number(port), host: "127.0.0.1" });
} else {
  const app = express();
  app.get("/health/live", (request, response) => response.json(alive));
  app.listen(Number(port), "127.0.0.1");
}
