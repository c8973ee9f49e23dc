-- May this request pass? Revocation, the user's cache generation and the rate
-- limit in one step.
--
-- KEYS, of a user:  the generation, the token on the revocation list, its family,
--                   and the limit's counters if there is a limit
--       of nobody:  the limit's counters
-- ARGV: most requests and seconds of each window of the limit
--
-- Returns: what is known of the token (-1 revoked, 0 ask the database, 1 good); the
-- generation; then, with a limit: which window is the nearest to its end (from 1),
-- how many requests it has left, when it starts anew, and after how many seconds
-- to come back (0: the request passes).
--
-- A window is a sliding counter: this period's requests, and the last one's by the
-- share of it that still lies inside the window. Only requests that pass count.
-- The counters of all windows are one string, three numbers of 4 bytes each: the
-- period, its requests, the requests of the one before.

local found = redis.call('MGET', unpack(KEYS))
local known, generation, counters = 1, false, found[1]
local clock

if #KEYS >= 3 then
    if found[2] or found[3] == 'revoked' then
        return { -1 }
    end
    if not found[3] then
        known = 0
    end
    generation, counters = found[1], found[4]
    if not generation then
        clock = redis.call('TIME')
        generation = string.format('%d%06d', clock[1], clock[2])
        redis.call('SET', KEYS[1], generation, 'EX', 2592000)
    end
end
if #ARGV == 0 then
    return { known, generation }
end

clock = clock or redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
if counters and #counters ~= #ARGV * 6 then
    counters = false
end

-- After how many seconds the window has room again, at a constant rate of none.
local function wait_of(most, span, passed, current, before)
    if current >= most then
        return span - passed + span * (1 - most / current)
    end
    return span * (1 - (most - current) / before) - passed
end

local updated, longest = {}, 0
local window, left, reset, wait = 0, math.huge, 0, 0
for i = 1, #ARGV / 2 do
    local most, span = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local period, current, before = math.floor(now / span), 0, 0
    if counters then
        local at, count, last = struct.unpack('<I4I4I4', counters, 12 * i - 11)
        if at >= period then -- a clock that went back is waited for
            period, current, before = at, count, last
        elseif at == period - 1 then
            before = count
        end
    end
    local passed = math.max(0, now - period * span)
    local room = most - current - math.floor(before * (1 - passed / span))
    if room < 1 then
        local seconds = math.max(1, math.ceil(wait_of(most, span, passed, current, before)))
        if seconds > wait then
            window, left, wait = i, 0, seconds
            reset = math.ceil(now + seconds)
        end
    elseif wait == 0 and room - 1 < left then
        window, left = i, room - 1
        reset = (period + 1) * span
    end
    updated[i] = struct.pack('<I4I4I4', period, current + 1, before)
    longest = math.max(longest, span)
end
if wait == 0 then
    redis.call('SET', KEYS[#KEYS], table.concat(updated), 'EX', 2 * longest)
end
return { known, generation, window, left, reset, wait }
