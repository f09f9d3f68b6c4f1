-- Remove a profile, if its version is still the one given.
--
-- KEYS 1  state (hash)   2  index of profiles (sorted set)   3  profile (hash)   4  announced hashes (hash)
--      5  sequences (hash)   6 ..  for each folder: due (sorted set), leases (sorted set), tokens, force, settled
-- (hashes) ARGV 1  folders that the caller knows, as the state spells them   2  version   3  member
-- Returns {'ok', 1} where the profile is absent now, {'ok', 0} where it is another by now, or {'folders', present}.
-- A folder in which the profile is due or claimed keeps all of that, and then what was announced stays too: it has to
-- remove its file when its turn comes. Of the other folders nothing stays.
local folders = redis.call('HGET', KEYS[1], 'folders') or ''
if folders ~= ARGV[1] then return {'folders', folders} end
local version = redis.call('HGET', KEYS[3], 'v') or ''
if version ~= '' and version ~= ARGV[2] then return {'ok', 0} end
local member = ARGV[3]
redis.call('ZREM', KEYS[2], member)
local pending = false
for i = 6, #KEYS, 5 do
  if redis.call('ZSCORE', KEYS[i], member) or redis.call('ZSCORE', KEYS[i + 1], member) then
    pending = true
  else
    for hash = i + 2, i + 4 do redis.call('HDEL', KEYS[hash], member) end
  end
end
if not pending then
  redis.call('HDEL', KEYS[4], member)
  redis.call('HDEL', KEYS[5], member)
end
if version ~= '' then
  redis.call('UNLINK', KEYS[3])
  redis.call('HINCRBY', KEYS[1], 'writes', 1)
end
return {'ok', 1}
