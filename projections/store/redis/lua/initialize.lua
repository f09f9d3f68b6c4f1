-- Give the bucket a state if it has none, and the positions of partitions that it does not know yet.
--
-- KEYS 1  state of the bucket (hash)
-- ARGV 1  instance id   2  version of the rules   3  number of positions, then partition, position, ..
--      then topic, topic id, ..
-- Returns 1 where this call initialized the bucket, else 0.
local state = KEYS[1]
local initialized = redis.call('HSETNX', state, 'birth', ARGV[1])
if initialized == 1 then redis.call('HSET', state, 'epoch', '0', 'meaning', ARGV[2]) end
local last = 3 + 2 * tonumber(ARGV[3])
for i = 4, last, 2 do redis.call('HSETNX', state, 'p:' .. ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV, 2 do redis.call('HSETNX', state, 't:' .. ARGV[i], ARGV[i + 1]) end
return initialized
