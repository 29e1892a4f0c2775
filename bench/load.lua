-- For wrk: asks for one address over and over, and ends with one line that a program can read.
--
--     wrk ... -s load.lua URL -- [BODY]      the body is sent by POST, as JSON

function init(arguments)
    local body = arguments[1]
    if body then
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
