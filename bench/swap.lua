-- For wrk during deploys: verifies that the body of every response belongs to the revision in its header.
--
--     wrk ... -s swap.lua URL -- FILE        a line per revision: commit, space, response body

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init(arguments)
    expected, seen, revisions, mixed, unknown = {}, {}, 0, 0, 0
    for line in io.lines(arguments[1]) do
        local commit, body = line:match("^(%x+) (.*)$")
        expected[commit] = body
    end
end

function response(status, headers, body)
    local commit = headers["picloud-revision"]
    local wanted = expected[commit]
    if not wanted then
        unknown = unknown + 1
    elseif body ~= wanted then
        mixed = mixed + 1
    end
    if commit and not seen[commit] then
        seen[commit] = true
        revisions = revisions + 1
    end
end

function done(summary, latency)
    local errors, thread = summary.errors, threads[1]
    io.write(string.format(
        'measured {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "wrong": %d, "broken": %d, '
            .. '"mixed": %d, "unknown": %d, "revisions": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout,
        thread:get("mixed"), thread:get("unknown"), thread:get("revisions")))
end
