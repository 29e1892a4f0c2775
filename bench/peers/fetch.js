// The three endpoints for servers with the fetch handler API: Deno and workerd.

const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));

export async function answer(request) {
  const path = request.url.slice(request.url.indexOf("/", "http://".length));
  if (request.method === "GET" && path.startsWith("/hello/")) {
    return Response.json({ message: `Hello, ${decodeURIComponent(path.slice("/hello/".length))}` });
  }
  if (request.method === "POST" && path === "/echo") {
    return Response.json(await request.json());
  }
  if (request.method === "GET" && path.startsWith("/fib/")) {
    return Response.json({ fib: fib(Number(path.slice("/fib/".length))) });
  }
  return new Response(null, { status: 404 });
}
