-- pushing.lua - push_jobs(): new jobs to where they wait: into a queue, the schedule, or
-- behind the jobs they depend on (protocol 7.1 to 7.3). All of them or, if it fails, none.
--
-- From ARGV[from] on, per job: id, queue, flags, delay in seconds, unique key ("": none),
-- and two lists, each behind its length: ids it depends on; fields and values.
-- Flags: "f" at the front, "r" the key is taken while the job runs, too, "a" allow
-- dependencies to fail. ARGV[1] is ts.
-- The answer, per job: "pushed", "exists" (its hash does; nothing was done) or "held"
-- (its key is taken by another), and the id of the job that there is now.
local ts = ARGV[1]

-- A key that nobody asks for is forgotten after a week.
local UNIQUE_TTL = 7 * 86400

local EMPTY = { 'started_at', '', 'ended_at', '', 'last_heartbeat', '', 'worker_name', '',
                'success_callback_name', '', 'failure_callback_name', '',
                'stopped_callback_name', '', 'group_id', '' }

local function read_jobs(from)
    local jobs, at = {}, from

    local function list()
        local count = tonumber(ARGV[at])
        local items = { unpack(ARGV, at + 1, at + count) }
        at = at + 1 + count
        return items
    end

    while at <= #ARGV do
        local job = { id = ARGV[at], queue = ARGV[at + 1], delay = tonumber(ARGV[at + 3]),
                      key = ARGV[at + 4] }
        for flag in string.gmatch(ARGV[at + 2], '.') do
            job[flag] = true
        end
        at = at + 5
        job.depends_on, job.fields = list(), list()
        jobs[#jobs + 1] = job
    end
    return jobs
end

-- A script that fails halfway is not undone: what could make it fail comes first.
local function what_is_wrong(jobs)
    local kinds = { ['rq:queues'] = 'set' }

    for _, job in ipairs(jobs) do
        kinds['rq:queue:' .. job.queue] = 'list'
        kinds['rq:scheduled:' .. job.queue] = 'zset'
        kinds['rq:deferred:' .. job.queue] = 'zset'
    end
    for key, kind in pairs(kinds) do
        local found = call('TYPE', key).ok
        if found ~= 'none' and found ~= kind then
            return key .. ' is a ' .. found .. ', not a ' .. kind
        end
    end
    return nil
end

-- Redis before 6.0.6 cannot look into a list: there the job's status decides alone.
local function is_listed(key, id)
    local place = redis.pcall('LPOS', key, id)

    return place and true or false
end

-- By the places jobs wait in, not by their status alone: who takes an id out of its
-- list by hand leaves the status as it was, and the key must not be taken for ever.
local function holds(id, while_running)
    local own = redis.pcall('HMGET', job_key(id), 'status', 'origin', 'data')
    local status, queue = own[1], own[2] or ''

    if not own[3] then
        return false
    elseif status == 'queued' then
        return is_listed('rq:queue:' .. queue, id) or
               while_running and is_listed('rq:queue:' .. queue .. ':intermediate', id)
    elseif status == 'scheduled' or status == 'deferred' then
        return call('ZSCORE', 'rq:' .. status .. ':' .. queue, id)
    elseif status == 'started' and while_running then
        return call('ZSCORE', 'rq:wip:' .. queue, id) or
               #call('ZRANGE', 'rq:executions:' .. id, 0, 0) > 0
    end
    return false
end

-- The id of the other job that has the key; nil when it is free, and ours from now on.
local function take_key(job)
    local key = 'fm:unique:' .. job.key
    local holder = call('GET', key)

    if holder and holds(holder, job.r) then
        call('EXPIRE', key, int(UNIQUE_TTL + job.delay))
        return holder
    end
    call('SET', key, job.id, 'EX', int(UNIQUE_TTL + job.delay))
    return nil
end

-- A dependency that is gone counts as met, as in RQ; so does a failed one that may
-- fail: RQ would wait for ever for it.
local function must_wait(job)
    for _, id in ipairs(job.depends_on) do
        local status = redis.pcall('HGET', job_key(id), 'status')
        if status and status ~= 'finished' and not (job.a and status == 'failed') then
            return true
        end
    end
    return false
end

local function write(job, status)
    local key = job_key(job.id)

    call('HSET', key, 'status', status, 'created_at', ts, 'origin', job.queue, unpack(EMPTY))
    call('HSET', key, unpack(job.fields))
    if status == 'queued' then
        return
    end
    if job.f then
        call('HSET', key, 'enqueue_at_front', '1')
    end
    -- Everybody is to see a queue whose jobs all wait elsewhere.
    call('SADD', 'rq:queues', 'rq:queue:' .. job.queue)
end

-- RQ 2.0 to 2.7 fails deferred jobs whose score has passed: ours is never, or its ttl.
local function defer(job)
    local ttl = tonumber(call('HGET', job_key(job.id), 'ttl') or '')

    call('ZADD', 'rq:deferred:' .. job.queue, ttl and int(now + ttl) or '+inf', job.id)
    for _, id in ipairs(job.depends_on) do
        call('SADD', job_key(id) .. ':dependents', job.id)
        call('SADD', 'rq:job::' .. job.id .. ':dependencies', id)
    end
    if ttl then
        lifetime(job.id, ttl)
    end
end

local function add(job)
    if job.delay > 0 then
        write(job, 'scheduled')
        call('ZADD', 'rq:scheduled:' .. job.queue, int(now + job.delay), job.id)
    elseif must_wait(job) then
        write(job, 'deferred')
        defer(job)
    else
        write(job, 'queued')
        enqueue(job.id, job.queue, ts, job.f)
    end
end

local function push_jobs(from)
    local jobs = read_jobs(from)
    local answer = {}
    local wrong = what_is_wrong(jobs)
    if wrong then
        return redis.error_reply('ERR ' .. wrong)
    end
    for _, job in ipairs(jobs) do
        local what, id = 'exists', job.id
        if call('EXISTS', job_key(id)) == 0 then
            local holder = job.key ~= '' and take_key(job)
            what, id = holder and 'held' or 'pushed', holder or id
            if not holder then
                add(job)
            end
        end
        answer[#answer + 1] = what
        answer[#answer + 1] = id
    end
    return answer
end
