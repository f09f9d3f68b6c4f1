-- Begin a new epoch of a bucket, unless another process was first.
--
-- KEYS 1  state of the bucket (hash)
-- ARGV 1  epoch seen ('' where the bucket had no state)   2  new epoch   3  instance id   4  version of the rules
--      5  what ends the recovery (JSON)   6  number of positions, then partition, position, .. then topic, topic id, ..
-- Returns 1, or 0 where the present epoch is another (a call that arrives twice included).
local state = KEYS[1]
if (redis.call('HGET', state, 'epoch') or '') ~= ARGV[1] then return 0 end
redis.call('HSETNX', state, 'birth', ARGV[3])
redis.call('HSET', state, 'epoch', ARGV[2], 'meaning', ARGV[4], 'healing', ARGV[5])
local last = 6 + 2 * tonumber(ARGV[6])
for i = 7, last, 2 do redis.call('HSET', state, 'p:' .. ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV, 2 do redis.call('HSET', state, 't:' .. ARGV[i], ARGV[i + 1]) end
redis.call('HINCRBY', state, 'writes', 1)
return 1
