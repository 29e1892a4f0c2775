const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env.PORT),
  routes: {
    "/hello/:name": { GET: (request) => Response.json({ message: `Hello, ${request.params.name}` }) },
    "/echo": { POST: async (request) => Response.json(await request.json()) },
    "/fib/:n": { GET: (request) => Response.json({ fib: fib(Number(request.params.n)) }) },
  },
});
