-- Forget what lies in the folder for profiles of one bucket, and make them due at once: the flusher looks at the files.
--
-- KEYS 1  due (sorted set)   2  settled hashes (hash)   3  leases (sorted set)   4  force (hash)
-- ARGV the members
-- Returns their number. A claim that runs may have looked at the file before, so the next one is forced.
local clock = redis.call('TIME')
local due = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
for _, member in ipairs(ARGV) do
  redis.call('HDEL', KEYS[2], member)
  redis.call('ZADD', KEYS[1], 'LT', due, member)
  if redis.call('ZSCORE', KEYS[3], member) then redis.call('HSETNX', KEYS[4], member, due) end
end
return #ARGV
