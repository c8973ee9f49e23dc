-- The user has written something: a new generation, everything older is out of reach.
-- KEYS: the generation
local now = redis.call('TIME')
redis.call('SET', KEYS[1], string.format('%d%06d', now[1], now[2]), 'EX', 2592000)
return 1
