-- wrk's side of tests/bench: chat requests, equal ones or each its own, and the figures as JSON.
-- BENCH_MODEL, BENCH_KEY; BENCH_EACH=1: no two alike; BENCH_AMONG=N: N different ones, in turn;
-- BENCH_PAD: bytes of the content beside the question; BENCH_SALT: apart from other runs;
-- BENCH_KEYS=N: so many keys in turn, BENCH_KEY with "-1" to "-N" behind it.
local model, key = os.getenv("BENCH_MODEL"), os.getenv("BENCH_KEY")
local each, salt = os.getenv("BENCH_EACH") == "1", os.getenv("BENCH_SALT") or ""
local among, pad = tonumber(os.getenv("BENCH_AMONG") or "0"), tonumber(os.getenv("BENCH_PAD") or "200")

local front = '{"model":"' .. model .. '","messages":[{"role":"user","content":"' .. salt .. ' '
local back = string.rep("x", pad) .. '"}]}'
local keys = tonumber(os.getenv("BENCH_KEYS") or "0")
local count, ready = 0, {}

local function key_of(number)
    return keys > 0 and key .. "-" .. (tonumber(number) % keys + 1) or key
end

-- The head is made once for each key and length of the number in the body.
local heads = {}
local function request_of(number)
    local body, who = front .. number .. back, key_of(number)
    local kind = who .. #body
    local head = heads[kind]
    if not head then
        local headers = { ["Authorization"] = "Bearer " .. who, ["Content-Type"] = "application/json" }
        local whole = wrk.format("POST", "/v1/chat/completions", headers, body)
        head = string.sub(whole, 1, #whole - #body)
        heads[kind] = head
    end
    return head .. body
end

function init(args)
    if each then return end
    for i = 1, math.max(among, 1) do ready[i] = request_of(tostring(i)) end
end

function request()
    count = count + 1
    if each then return request_of(tostring(count)) end
    return ready[(count - 1) % #ready + 1]
end

function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format(
        'JSON {"requests": %d, "seconds": %f, "p50_us": %d, "p99_us": %d, "bad": %d, "broken": %d}',
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
