-- Remove a profile, if its version is still the one given.
--
-- KEYS 1  index of profiles (sorted set)   2  profile (hash)   3  mark (hash)
-- ARGV 1  version   2  member
-- Returns 1 where the profile is absent now, else 0.
local version = redis.call('HGET', KEYS[2], 'v') or ''
if version ~= '' and version ~= ARGV[1] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[2])
if version ~= '' then
  redis.call('UNLINK', KEYS[2])
  redis.call('HINCRBY', KEYS[3], 'writes', 1)
end
return 1
