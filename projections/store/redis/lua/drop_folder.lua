-- Let a bucket know nothing of a folder any more.
--
-- KEYS 1  state of the bucket (hash)   2 ..  the folder's due (sorted set), leases (sorted set), tokens, force, settled
-- ARGV 1  the folder's id as the state spells it
-- Returns 1 where the bucket knew the folder, else 0.
local folders = redis.call('HGET', KEYS[1], 'folders') or ''
local rest = ''
for entry in string.gmatch(folders, '[^;]+;') do
  if string.sub(entry, 1, #ARGV[1] + 1) ~= ARGV[1] .. '=' then rest = rest .. entry end
end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
if rest == folders then return 0 end
redis.call('HSET', KEYS[1], 'folders', rest)
return 1
