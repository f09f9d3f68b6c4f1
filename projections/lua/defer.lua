-- Give claims of one bucket back, due again later.
--
-- KEYS 1  due (sorted set)   2  leases (sorted set)   3  tokens (hash)
-- ARGV 1  token   2  delay, milliseconds   3 ..  members
-- Returns the number of claims given back; one that is no longer the caller's is left alone.
local clock = redis.call('TIME')
local due = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[2]))
local given = 0
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[3], ARGV[i]) == ARGV[1] then
    redis.call('HDEL', KEYS[3], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('ZADD', KEYS[1], due, ARGV[i])
    given = given + 1
  end
end
return given
