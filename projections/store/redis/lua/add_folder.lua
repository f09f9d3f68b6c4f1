-- Make a folder known to a bucket; when it is new, all profiles of its scope are due there.
--
-- KEYS 1  state of the bucket (hash)   2  index of profiles (sorted set)   3  due times of the folder (sorted set)
-- ARGV 1  the folder's id as the state spells it   2  the folder as the state spells it   3  slug that limits it, '' for
-- all Returns 1 where the folder is new, else 0.
local folders = redis.call('HGET', KEYS[1], 'folders') or ''
if string.find(';' .. folders, ';' .. ARGV[1] .. '=', 1, true) then return 0 end
local now = redis.call('TIME')
local due = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if ARGV[3] == '' or string.match(member, '^%d+:(.*)$') == ARGV[3] then
    redis.call('ZADD', KEYS[3], 'NX', due, member)
  end
end
redis.call('HSET', KEYS[1], 'folders', folders .. ARGV[2])
return 1
