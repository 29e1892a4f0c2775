// The counter on Deno KV. A commit whose check fails is tried again with the new value.

const kv = await Deno.openKv(Deno.env.get("STATE"));
const key = ["hits"];

async function increment() {
  for (;;) {
    const entry = await kv.get(key);
    const hits = (entry.value ?? 0) + 1;
    const { ok } = await kv.atomic().check(entry).set(key, hits).commit();
    if (ok) {
      return hits;
    }
  }
}

async function answer(request) {
  const hits = request.method === "POST" ? await increment() : (await kv.get(key)).value ?? 0;
  return Response.json({ hits });
}

Deno.serve({ hostname: "127.0.0.1", port: Number(Deno.env.get("PORT")), onListen() {} }, answer);
