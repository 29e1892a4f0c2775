-- For wrk: requests one URL repeatedly, and prints one machine-readable line at the end.
--
--     wrk ... -s load.lua URL -- [BODY [PAUSE]]
--
-- A non-empty body is sent by POST as JSON. PAUSE is the average delay of a connection before each request in milliseconds,
-- uniformly distributed from half to one and a half times this.

function init(arguments)
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
