-- Store what is left of a bucket's recovery.
--
-- KEYS 1  state of the bucket (hash)
-- ARGV 1  epoch that the caller knows   2  what is left (JSON), '' when it is done
-- Returns 1, or 0 where the epoch is another by now.
local state = KEYS[1]
if redis.call('HGET', state, 'epoch') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('HDEL', state, 'healing')
elseif redis.call('HEXISTS', state, 'healing') == 1 then
  redis.call('HSET', state, 'healing', ARGV[2])
end
return 1
