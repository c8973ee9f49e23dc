-- abandoned.lua - started jobs whose heartbeats ended (protocol 7.16).
--
-- ARGV: queue, ts, error (zlib, base64), at most how many, default failure TTL, our home
-- ("": redeliver nothing), max deliveries, error of too many.
-- Jobs of workers of other kinds and other hosts end exactly as RQ ends them; those of
-- a worker of this host (its record is gone, else recover.lua had them) are redelivered,
-- also when the whole server was away for so long that nothing else of them is left.
-- The answer: per job "retried", "failed" or "redelivered", and its id.
local queue, ts = ARGV[1], ARGV[2]
local key = 'rq:wip:' .. queue
local answer = {}

-- RQ 2 writes "id:execution"; an id may itself hold colons.
local function job_of(member)
    local id = string.match(member, '^(.+):' .. string.rep('[0-9a-f]', 32) .. '$')

    if id and call('EXISTS', job_key(member)) == 0 then
        return id
    end
    return member
end

local function was_here(id)
    for _, execution in ipairs(call('ZRANGE', 'rq:executions:' .. id, 0, -1)) do
        local record = 'rq:execution:' .. id .. ':' .. execution
        if ARGV[6] ~= '' and call('HGET', record, 'fm_home') == ARGV[6] then
            return true
        end
    end
    local worker = call('HGET', job_key(id), 'worker_name')
    return ARGV[6] ~= '' and worker and call('GET', 'fm:home:' .. worker) == ARGV[6]
end

for _, member in ipairs(call('ZRANGEBYSCORE', key, '0', int(now), 'LIMIT', '0', ARGV[4])) do
    local id = job_of(member)
    -- Taken out before it is judged: a second cleaner finds nothing.
    call('ZREM', key, member)
    local own = redis.pcall('HMGET', job_key(id), 'data', 'status')
    if own[1] and own[2] == 'started' then
        local is_ours = was_here(id)
        end_all_executions(id)
        if is_ours then
            answer[#answer + 1] = redeliver(id, queue, ts, {
                max = tonumber(ARGV[7]), exc = ARGV[8], failure_ttl = tonumber(ARGV[5]) })
        elseif retry(id, queue, ts) then
            answer[#answer + 1] = 'retried'
        else
            fail(id, queue, 'failed', ts, ARGV[3], nil, tonumber(ARGV[5]))
            answer[#answer + 1] = 'failed'
        end
        answer[#answer + 1] = id
    end
end
return answer
