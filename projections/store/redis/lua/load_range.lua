-- Read one field of the profiles of some users in one bucket.
--
-- KEYS 1  index (sorted set of the profiles, by user)
-- ARGV 1  what comes before a member in the key of a profile   2  the field   3 4  first and last user
--      5 6  how many profiles to pass over, and how many to read at most
-- The profiles' keys are made here, in the slot of KEYS 1: a call for each would cost its client ten times as much.
-- Returns for each: member, value (false where absent).
local reply = {}
for i, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[3], ARGV[4], 'LIMIT', ARGV[5], ARGV[6])) do
  reply[2 * i - 1] = member
  reply[2 * i] = redis.call('HGET', ARGV[1] .. member, ARGV[2])
end
return reply
