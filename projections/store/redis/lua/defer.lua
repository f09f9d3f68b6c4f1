-- Give claims of one bucket back as they were, due again later.
--
-- KEYS 1  due (sorted set)   2  leases (sorted set)   3  tokens (hash)   4  force (hash)
-- ARGV 1  token   2  delay, milliseconds   then for each profile: member, flags of the claim
-- Returns the number of claims given back; one that is no longer the caller's is left alone. One that was taken over
-- runs out at the due time, so that the next claim takes it over again.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local due = string.format('%.0f', now + tonumber(ARGV[2]))
local given = 0
for i = 3, #ARGV, 2 do
  local member, flags = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', KEYS[3], member) == ARGV[1] then
    redis.call('HDEL', KEYS[3], member)
    if flags == '2' then
      redis.call('ZADD', KEYS[2], due, member)
    else
      redis.call('ZREM', KEYS[2], member)
      redis.call('ZADD', KEYS[1], due, member)
      if flags == '1' then redis.call('HSET', KEYS[4], member, string.format('%.0f', now)) end
    end
    given = given + 1
  end
end
return given
