-- The user has written something: a new generation, everything older is out of reach.
-- Where there are read replicas, the position of the write in PostgreSQL's log is kept
-- behind it: of two writes that come here in the other order, the later one's. (A
-- position is a whole number of more digits than Lua's numbers hold exactly.)
-- KEYS: the generation
-- ARGV: the position, or "" for none known
local now = redis.call('TIME')
local generation = string.format('%d%06d', now[1], now[2])
local position = ARGV[1]
if position ~= '' then
    local before = redis.call('GET', KEYS[1])
    local other = before and string.sub(before, 18) or ''
    if #other > #position or (#other == #position and other > position) then
        position = other
    end
    generation = generation .. ' ' .. position
end
redis.call('SET', KEYS[1], generation, 'EX', 2592000)
return 1
