-- May one more page of this host be fetched now, by any process?
--   KEYS: 1 fetches (sorted set by time), 2 circuit, 3 how many were put off lately
--   ARGV: 1 fetches allowed, 2 in so many milliseconds, 3 a name for this fetch
-- 0: yes, and it is counted. Else the milliseconds to wait.
local open = redis.call('PTTL', KEYS[2])
if open > 0 then
    return open
end

local allowed, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if redis.call('ZCARD', KEYS[1]) < allowed then
    redis.call('ZADD', KEYS[1], now, ARGV[3])
    redis.call('PEXPIRE', KEYS[1], window)
    return 0
end

-- Those put off in the same window come back one window after another, not all at
-- once: an import of a thousand pages of one host would turn in circles.
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local waiting = redis.call('INCR', KEYS[3])
if waiting == 1 then
    redis.call('PEXPIRE', KEYS[3], window)
end
return oldest[2] + window - now + math.floor((waiting - 1) / allowed) * window
