-- Begin a new epoch of a bucket, unless another process was first.
--
-- KEYS 1  mark of the bucket (hash)
-- ARGV 1  epoch seen ('' where the bucket had no mark)   2  new epoch   3  birth id   4  meaning version
--      5  what healing means (JSON)   6  number of positions, then partition, position, .. then topic, topic id, ..
-- Returns 1, or 0 where the present epoch is another (a call that arrives twice included).
local mark = KEYS[1]
if (redis.call('HGET', mark, 'epoch') or '') ~= ARGV[1] then return 0 end
redis.call('HSETNX', mark, 'birth', ARGV[3])
redis.call('HSET', mark, 'epoch', ARGV[2], 'meaning', ARGV[4], 'healing', ARGV[5])
local last = 6 + 2 * tonumber(ARGV[6])
for i = 7, last, 2 do redis.call('HSET', mark, 'p:' .. ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV, 2 do redis.call('HSET', mark, 't:' .. ARGV[i], ARGV[i + 1]) end
redis.call('HINCRBY', mark, 'writes', 1)
return 1
