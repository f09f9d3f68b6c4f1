-- Give a user another revision floor.
--
-- KEYS 1  state of the bucket (hash)   2  revision floors (hash)
-- ARGV 1  user id   2  the new floor   3  its time, '' where it is to end a block   4  from where on a floor blocks
-- Returns 1, or 0 where the present floor is not to be replaced (a call that arrives twice included).
local present = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
local blocked = present >= tonumber(ARGV[4])
if ARGV[3] == '' then
  if not blocked then return 0 end
elseif present >= tonumber(ARGV[2]) or (not blocked and present > tonumber(ARGV[3])) then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if redis.call('HEXISTS', KEYS[1], 'birth') == 1 then redis.call('HINCRBY', KEYS[1], 'writes', 1) end
return 1
