-- Remove a profile with everything that is known of it, if its version is still the one given.
--
-- KEYS 1  state (hash)   2  index of profiles (sorted set)   3  profile (hash)   4  announced hashes (hash)
--      5  sequences (hash)   6 ..  for each folder: due (sorted set), leases (sorted set), tokens, force, settled
-- (hashes) ARGV 1  folders that the caller knows, as the state spells them   2  version   3  member
-- Returns {'ok', 1} where the profile is absent now, {'ok', 0} where it is another by now, or {'folders', present}.
local folders = redis.call('HGET', KEYS[1], 'folders') or ''
if folders ~= ARGV[1] then return {'folders', folders} end
local version = redis.call('HGET', KEYS[3], 'v') or ''
if version ~= '' and version ~= ARGV[2] then return {'ok', 0} end
local member = ARGV[3]
redis.call('ZREM', KEYS[2], member)
redis.call('HDEL', KEYS[4], member)
redis.call('HDEL', KEYS[5], member)
for i = 6, #KEYS, 5 do
  redis.call('ZREM', KEYS[i], member)
  redis.call('ZREM', KEYS[i + 1], member)
  for hash = i + 2, i + 4 do redis.call('HDEL', KEYS[hash], member) end
end
if version ~= '' then
  redis.call('UNLINK', KEYS[3])
  redis.call('HINCRBY', KEYS[1], 'writes', 1)
end
return {'ok', 1}
