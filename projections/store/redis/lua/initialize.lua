-- Give the bucket a mark if it has none, and the positions of partitions that it does not know yet.
--
-- KEYS 1  mark of the bucket (hash)
-- ARGV 1  birth id   2  meaning version   3  number of positions, then partition, position, ..
--      then topic, topic id, ..
-- Returns 1 where the bucket was born by this call, else 0.
local mark = KEYS[1]
local born = redis.call('HSETNX', mark, 'birth', ARGV[1])
if born == 1 then redis.call('HSET', mark, 'epoch', '0', 'meaning', ARGV[2]) end
local last = 3 + 2 * tonumber(ARGV[3])
for i = 4, last, 2 do redis.call('HSETNX', mark, 'p:' .. ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV, 2 do redis.call('HSETNX', mark, 't:' .. ARGV[i], ARGV[i + 1]) end
return born
