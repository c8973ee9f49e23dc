-- A page of this host was fetched, or could not be.
--   KEYS: 1 failures (sorted set by time), 2 circuit
--   ARGV: 1 failed ("1") or not ("0"), 2 failures that open the circuit,
--         3 in so many milliseconds, 4 how long it stays open, 5 a name for this one
-- 1 when the circuit has opened.
if ARGV[1] == '0' then
    redis.call('DEL', KEYS[1])
    return 0
end

local window = tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
redis.call('ZADD', KEYS[1], now, ARGV[5])
redis.call('PEXPIRE', KEYS[1], window)
if redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
    return 0
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[4])
return 1
