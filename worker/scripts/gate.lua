-- May this request pass? Revocation, the user's cache generation and the rate
-- limit in one step.
--
-- KEYS, of a user:  the generation, the token on the revocation list, its family,
--                   and the limit's counters if there is a limit
--       of nobody:  the limit's counters
-- ARGV: most requests and seconds of each window of the limit; then, where there are
--       read replicas, the microseconds after which all of them have what was written
--
-- Returns: what is known of the token (-1 revoked, 0 ask the database, 1 good); the
-- generation (where that last argument is given, only if it is so young that a replica
-- may lack the write: with the position of the write behind a blank, if that is known;
-- if it is older, its first 16 digits and "+"); then, with a limit: which window is the nearest to its end (from 1),
-- how many requests it has left, when it starts anew, and after how many seconds
-- to come back (0: the request passes).
--
-- A window is a sliding counter: this period's requests, and the last one's by the
-- share of it that still lies inside the window. Only requests that pass count.
-- The counters of all windows are one string, three numbers of 4 bytes each: the
-- period, its requests, the requests of the one before.
--
-- It runs for every request, in the one thread Redis has: what is used often is
-- local, and nothing is made that most requests do not need.

local call, floor = redis.call, math.floor
local keys, args = #KEYS, #ARGV
local known, generation, counters = 1, false, nil
local clock

if keys >= 3 then
    local found = call('MGET', unpack(KEYS))
    local family = found[3]
    if found[2] or family == 'revoked' then
        return { -1 }
    end
    if not family then
        known = 0
    end
    generation, counters = found[1], found[4]
    if not generation then
        clock = call('TIME')
        generation = string.format('%d%06d', clock[1], clock[2])
        call('SET', KEYS[1], generation, 'EX', 2592000)
    end
else
    counters = call('GET', KEYS[1])
end
if args % 2 == 1 then
    if generation then
        clock = clock or call('TIME')
        local written = string.sub(generation, 1, 16)
        if clock[1] * 1000000 + clock[2] - written >= ARGV[args] + 0 then
            generation = written .. '+'
        end
    end
    args = args - 1
end
if args == 0 then
    return { known, generation }
end

clock = clock or call('TIME')
local pack, unpack_numbers = struct.pack, struct.unpack
local now = clock[1] + clock[2] / 1000000
if counters and #counters ~= args * 6 then
    counters = false
end

local updated, longest = '', 0
local window, left, reset, wait = 0, nil, 0, 0
for i = 1, args, 2 do
    local most, span = ARGV[i] + 0, ARGV[i + 1] + 0
    local period, current, before = floor(now / span), 0, 0
    if counters then
        local at, count, last = unpack_numbers('<I4I4I4', counters, 6 * i - 5)
        if at >= period then -- a clock that went back is waited for
            period, current, before = at, count, last
        elseif at == period - 1 then
            before = count
        end
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
            window, left, wait = (i + 1) / 2, 0, seconds
            reset = math.ceil(now + seconds)
        end
    elseif wait == 0 and (not left or room <= left) then
        window, left = (i + 1) / 2, room - 1
        reset = (period + 1) * span
    end
    updated = updated .. pack('<I4I4I4', period, current + 1, before)
    if span > longest then
        longest = span
    end
end
if wait == 0 then
    call('SET', KEYS[keys], updated, 'EX', 2 * longest)
end
return { known, generation, window, left, reset, wait }
