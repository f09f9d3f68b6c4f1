-- Store what is left of a bucket's recovery.
--
-- KEYS 1  state of the bucket (hash)
-- ARGV 1  epoch that the caller knows   2  what was left, as the caller saw it (JSON), '' for nothing
--      3  what is left (JSON), '' when it is done
-- Returns 1, or 0 where either is another by now, or nothing was left.
local state = KEYS[1]
if redis.call('HGET', state, 'epoch') ~= ARGV[1] then return 0 end
if (redis.call('HGET', state, 'healing') or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', state, 'healing')
elseif ARGV[2] == '' then
  return 0
else
  redis.call('HSET', state, 'healing', ARGV[3])
end
return 1
