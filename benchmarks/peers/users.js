// node users.js PORT: fastify with pg and fast-jwt (which caches tokens): a user by id, and a message that lasts.
import { createVerifier } from "fast-jwt";
import Fastify from "fastify";
import { randomUUID } from "node:crypto";
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
const verify = createVerifier({ key: process.env.JWT_SECRET, algorithms: ["HS256"], cache: true });
const app = Fastify();

app.addHook("onRequest", async (request, reply) => {
  try {
    request.user = verify((request.headers.authorization ?? "").slice(7));
  } catch {
    return reply.code(401).send({ error: "Unauthorized" });
  }
});

app.get("/api/v1/users/:id", async (request, reply) => {
  const { rows } = await pool.query({
    name: "user",
    text: "SELECT id, email, name, created_at, updated_at FROM bench_users WHERE id = $1",
    values: [request.params.id],
  });
  if (!rows.length) return reply.code(404).send({ error: "Not found" });
  return { success: true, data: rows[0], timestamp: new Date() };
});

const body = {
  type: "object",
  required: ["content", "channelId"],
  properties: {
    content: { type: "string", minLength: 1, maxLength: 10000 },
    channelId: { type: "string", minLength: 1, maxLength: 100 },
  },
};
app.post("/api/v1/messages", { schema: { body } }, async (request, reply) => {
  const { content, channelId } = request.body;
  const { rows } = await pool.query({
    name: "message",
    text: "INSERT INTO bench_messages (id, user_id, content, channel_id) VALUES ($1, $2, $3, $4) RETURNING *",
    values: [randomUUID(), request.user.userId, content, channelId],
  });
  return reply.code(201).send({ success: true, data: rows[0], timestamp: new Date() });
});

await app.listen({ port: Number(process.argv[2]), host: "127.0.0.1" });
