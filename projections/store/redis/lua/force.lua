-- Make profiles of one bucket due at once, with their settled hash ignored.
--
-- KEYS 1  due (sorted set)   2  force (hash)
-- ARGV the members
-- Returns their number. One that is to be forced later, after a take-over, is due now and forced then.
local clock = redis.call('TIME')
local due = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
for _, member in ipairs(ARGV) do
  redis.call('HSETNX', KEYS[2], member, due)
  redis.call('ZADD', KEYS[1], 'LT', due, member)
end
return #ARGV
