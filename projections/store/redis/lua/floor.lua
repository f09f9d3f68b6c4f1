-- Give a user another revision floor.
--
-- KEYS 1  state of the bucket (hash)   2  revision floors (hash)
-- ARGV 1  user id   2  the new floor   3  'raise', or the floor that it is to replace
-- Returns 1, or 0 where the present floor is another, or no lower one (a call that arrives twice included).
local present = redis.call('HGET', KEYS[2], ARGV[1]) or '0'
if ARGV[3] == 'raise' then
  if tonumber(present) >= tonumber(ARGV[2]) then return 0 end
elseif present ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if redis.call('HEXISTS', KEYS[1], 'birth') == 1 then redis.call('HINCRBY', KEYS[1], 'writes', 1) end
return 1
