// The counter with better-sqlite3. An answer is sent after its transaction is on the disk.

import Database from "better-sqlite3";
import fastify from "fastify";

const database = new Database(process.env.STATE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec("CREATE TABLE counters (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID");
database.exec("INSERT INTO counters VALUES ('hits', 0)");
const increment = database.prepare("UPDATE counters SET number = number + 1 WHERE name = ? RETURNING number").pluck();
const current = database.prepare("SELECT number FROM counters WHERE name = ?").pluck();

const response = { schema: { response: { 200: { type: "object", properties: { hits: { type: "integer" } } } } } };

const server = fastify();
server.post("/hits", response, (request, reply) => {
  reply.send({ hits: increment.get("hits") });
});
server.get("/hits", response, (request, reply) => {
  reply.send({ hits: current.get("hits") });
});
await server.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
