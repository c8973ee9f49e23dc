-- permissions.lua - what this user may not do: for redis_check.c.
--
-- ARGV: names of keys that are nobody's. The answer: "zadd on rq:...", for each command
-- that the ACL refuses. Whatever it makes is gone at its end, so nobody ever sees it.
local probes = {
    { 'DEL' }, { 'EXISTS' }, { 'EXPIRE', 1 }, { 'GET' }, { 'HDEL', 'x' }, { 'HEXISTS', 'x' },
    { 'HGET', 'x' }, { 'HMGET', 'x' }, { 'HSET', 'x', 1 }, { 'HSETNX', 'x', 1 }, { 'INCR' },
    { 'LPOP' }, { 'LPOS', 'x' }, { 'LPUSH', 'x' }, { 'LRANGE', 0, 0 }, { 'LREM', 1, 'x' },
    { 'MGET' }, { 'PERSIST' }, { 'PEXPIRE', 1 }, { 'PTTL' }, { 'RPUSH', 'x' }, { 'SADD', 'x' },
    { 'SET', 'x' }, { 'SMEMBERS' }, { 'SREM', 'x' }, { 'SSCAN', 0 }, { 'TYPE' },
    { 'XADD', '*', 'x', 1 }, { 'XREVRANGE', '+', '-' }, { 'ZADD', 1, 'x' }, { 'ZCARD' },
    { 'ZRANGE', 0, 0 }, { 'ZRANGEBYSCORE', 0, 0 }, { 'ZREM', 'x' },
    { 'ZREMRANGEBYSCORE', 0, 0 }, { 'ZSCAN', 0 }, { 'ZSCORE', 'x' },
}
local refused = {}

-- In the words of 6, 7.0 and 7.2.
local function is_denied(answer)
    local text = type(answer) == 'table' and answer.err
    return text and (string.find(text, 'NOPERM', 1, true) or
                     string.find(text, 'user executing the script', 1, true) or
                     string.find(text, 'ACL failure', 1, true))
end

for _, key in ipairs(ARGV) do
    for _, probe in ipairs(probes) do
        if is_denied(redis.pcall(probe[1], key, unpack(probe, 2))) then
            refused[#refused + 1] = string.lower(probe[1]) .. ' on ' .. key
        end
    end
    redis.pcall('DEL', key)
end
return refused
