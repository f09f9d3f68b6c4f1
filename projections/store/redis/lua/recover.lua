-- Note how far a bucket's healing is.
--
-- KEYS 1  mark of the bucket (hash)
-- ARGV 1  epoch that the caller knows   2  what is left of healing (JSON), '' when it is done
-- Returns 1, or 0 where the epoch is another by now.
local mark = KEYS[1]
if redis.call('HGET', mark, 'epoch') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('HDEL', mark, 'healing')
elseif redis.call('HEXISTS', mark, 'healing') == 1 then
  redis.call('HSET', mark, 'healing', ARGV[2])
end
return 1
