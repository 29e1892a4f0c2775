import fastify from "fastify";

const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));

// With a response schema, as Fastify's guide recommends for performance.
const object = (properties) => ({ schema: { response: { 200: { type: "object", properties } } } });

const server = fastify();
server.get("/hello/:name", object({ message: { type: "string" } }), (request, reply) => {
  reply.send({ message: `Hello, ${request.params.name}` });
});
server.post("/echo", (request, reply) => {
  reply.send(request.body);
});
server.get("/fib/:n", object({ fib: { type: "integer" } }), (request, reply) => {
  reply.send({ fib: fib(Number(request.params.n)) });
});
await server.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
