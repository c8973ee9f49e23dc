-- The user's cache generation: Redis' time at the user's last write, made up now
-- when there is none (a new user, or the key was evicted: then nothing that was
-- cached before can be told from what is stale, and a new time leaves it behind).
-- Behind it, after a blank, may stand the position of that write in PostgreSQL's log.
-- KEYS: the generation
local generation = redis.call('GET', KEYS[1])
if not generation then
    local now = redis.call('TIME')
    generation = string.format('%d%06d', now[1], now[2])
    redis.call('SET', KEYS[1], generation, 'EX', 2592000)
end
return string.sub(generation, 1, 16)
