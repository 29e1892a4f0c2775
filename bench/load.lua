-- For wrk: requests one URL repeatedly, and prints one machine-readable line at the end.
--
--     wrk ... -s load.lua URL -- [BODY [PAUSE]]
--
-- With PORTS, each thread requests the next of these ports of 127.0.0.1. With KEYS, the URL ends with a random number below it.
-- A non-empty body is sent by POST as JSON. PAUSE is the average delay of a connection before each request in milliseconds,
-- uniformly distributed from half to one and a half times this.

local ports, threads = {}, 0
for port in (os.getenv("PORTS") or ""):gmatch("%d+") do
    ports[#ports + 1] = port
end

function setup(thread)
    threads = threads + 1
    if #ports > 0 then
        thread.addr = wrk.lookup("127.0.0.1", ports[(threads - 1) % #ports + 1])[1]
    end
    thread:set("seed", threads)
end

function init(arguments)
    local keys = tonumber(os.getenv("KEYS"))
    if keys then
        -- Otherwise all threads would request the same keys.
        math.randomseed(seed)
        function request()
            return wrk.format(nil, wrk.path .. math.random(0, keys - 1))
        end
    end
    local body, pause = arguments[1] or "", tonumber(arguments[2])
    if pause then
        function delay()
            return math.random(pause / 2, pause * 3 / 2)
        end
    end
    if body ~= "" then
        wrk.method, wrk.body = "POST", body
        wrk.headers["Content-Type"] = "application/json"
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        'measured {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "wrong": %d, "broken": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
