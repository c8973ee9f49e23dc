-- May these requests pass? For each: revocation, the user's cache generation and the rate
-- limit, in one step. Those that came in one turn of a worker's loop are asked together.
--
-- KEYS, of each request in turn:
--    of a user:  the generation, the token on the revocation list, its family, and the
--                limit's counters if there is a limit
--    of nobody:  the limit's counters
-- ARGV: where there are read replicas, the microseconds after which all of them have
--       what was written, else ""; then for each request how many keys it has, and the
--       windows of its limit: most requests and seconds, numbers of 4 bytes each
--
-- Returns for each request six values: what is known of the token (-1 revoked, 0 ask the
-- database, 1 good); the generation, nil of nobody or with a revoked token (where the
-- first argument is given, only if it is so young that a replica may lack the write: with
-- the position of the write behind a blank, if that is known; if it is older, its first
-- 16 digits and "+"); then, with a limit: which window is the nearest to its end (from 1;
-- 0 without a limit), how many requests it has left, when it starts anew, and after how
-- many seconds to come back (0: the request passes).
--
-- A window is a sliding counter: this period's requests, and the last one's by the
-- share of it that still lies inside the window. Only requests that pass count.
-- The counters of all windows are one string, three numbers of 4 bytes each: the
-- period, its requests, the requests of the one before.
--
-- It runs for every request, in the one thread Redis has: what is used often is
-- local, and nothing is made that most requests do not need.

local call, floor = redis.call, math.floor
local pack, unpack_numbers = struct.pack, struct.unpack
local found = call('MGET', unpack(KEYS))
local clock = call('TIME')
local now = clock[1] + clock[2] / 1000000
local settled = tonumber(ARGV[1])

-- Counters as this batch leaves them, by their key; the keys in order, and their lifetimes.
local counted, keys_counted, lifetimes = {}, {}, {}

-- The counters under `key`, or in `counters`, with one request more: window, left, reset, wait.
local function count(key, counters, windows)
    local size = #windows
    counters = counted[key] or counters
    if counters and 2 * #counters ~= 3 * size then
        counters = false
    end

    local updated, longest, counter_at = '', 0, 1
    local window, left, reset, wait = 0, nil, 0, 0
    for i = 1, size, 8 do
        local most, span = unpack_numbers('<I4I4', windows, i)
        local period, current, before = floor(now / span), 0, 0
        if counters then
            local at, requests, last = unpack_numbers('<I4I4I4', counters, counter_at)
            if at >= period then -- a clock that went back is waited for
                period, current, before = at, requests, last
            elseif at == period - 1 then
                before = requests
            end
            counter_at = counter_at + 12
        end
        local room = most - current
        local passed = now - period * span
        if passed < 0 then
            passed = 0
        end
        if before > 0 then
            room = room - floor(before * (1 - passed / span))
        end
        if room < 1 then
            -- When will there be room again, if nothing more comes?
            local seconds
            if current >= most then
                seconds = span - passed + span * (1 - most / current)
            else
                seconds = span * (1 - (most - current) / before) - passed
            end
            seconds = math.max(1, math.ceil(seconds))
            if seconds > wait then
                window, left, wait = (i + 7) / 8, 0, seconds
                reset = math.ceil(now + seconds)
            end
        elseif wait == 0 and (not left or room <= left) then
            window, left = (i + 7) / 8, room - 1
            reset = (period + 1) * span
        end
        updated = updated .. pack('<I4I4I4', period, current + 1, before)
        if span > longest then
            longest = span
        end
    end
    if wait == 0 then
        if not counted[key] then
            local n = #keys_counted + 1
            keys_counted[n], lifetimes[n] = key, 2 * longest
        end
        counted[key] = updated
    end
    return window, left, reset, wait
end

local function generation_of(key, generation)
    if not generation then
        generation = string.format('%d%06d', clock[1], clock[2])
        call('SET', key, generation, 'EX', 2592000)
    end
    if settled then
        local written = string.sub(generation, 1, 16)
        if clock[1] * 1000000 + clock[2] - written >= settled then
            return written .. '+'
        end
    end
    return generation
end

local answers, n, before = {}, 0, 0
for i = 2, #ARGV, 2 do
    local keys, windows = ARGV[i] + 0, ARGV[i + 1]
    local known, generation = 1, false
    local window, left, reset, wait = 0, 0, 0, 0
    if keys >= 3 then
        local family = found[before + 3]
        if found[before + 2] or family == 'revoked' then
            known = -1
        else
            if not family then
                known = 0
            end
            generation = generation_of(KEYS[before + 1], found[before + 1])
        end
    end
    before = before + keys
    if known >= 0 and windows ~= '' then
        window, left, reset, wait = count(KEYS[before], found[before], windows)
    end
    answers[n + 1], answers[n + 2], answers[n + 3] = known, generation, window
    answers[n + 4], answers[n + 5], answers[n + 6] = left, reset, wait
    n = n + 6
end
for i = 1, #keys_counted do
    local key = keys_counted[i]
    call('SET', key, counted[key], 'EX', lifetimes[i])
end
return answers
