-- End claims of one bucket.
--
-- KEYS 1  due (sorted set)   2  leases (sorted set)   3  tokens (hash)   4  force (hash)   5  settled hashes (hash)
--      6  announced hashes (hash)   7 ..  profiles (hashes)
-- ARGV 1  token   2  debounce, milliseconds   3  delay of the forced flush after a take-over, milliseconds
--      then for each profile: member, version read, flags (2: taken over), settled hash, announced hash ('-': as is),
--      sequence of the reading
-- Returns the number of claims that were still the caller's. The others are left alone, so a second call does nothing.
-- A profile that was forced since it was claimed stays due. An announced hash is stored with its
-- sequence ('hash sequence'), and one with a higher sequence stays: another folder's flusher was later.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local settled = 0

local function sooner(member, at) redis.call('ZADD', KEYS[1], 'LT', string.format('%.0f', at), member) end

for i = 7, #KEYS do
  local at = 4 + (i - 7) * 6
  local member = ARGV[at]
  if redis.call('HGET', KEYS[3], member) == ARGV[1] then
    settled = settled + 1
    redis.call('HDEL', KEYS[3], member)
    redis.call('ZREM', KEYS[2], member)
    redis.call('HSET', KEYS[5], member, ARGV[at + 3])
    if ARGV[at + 4] ~= '-' then
      local announced = string.match(redis.call('HGET', KEYS[6], member) or '', ' (%d+)$')
      if tonumber(ARGV[at + 5]) >= tonumber(announced or 0) then
        redis.call('HSET', KEYS[6], member, ARGV[at + 4] .. ' ' .. ARGV[at + 5])
      end
    end
    if (redis.call('HGET', KEYS[i], 'v') or '') == ARGV[at + 1] then
      redis.call('ZREM', KEYS[1], member)
    else
      sooner(member, now + tonumber(ARGV[2]))
    end
    if ARGV[at + 2] == '2' then
      redis.call('HSET', KEYS[4], member, string.format('%.0f', now + tonumber(ARGV[3])))
    end
    local forced = tonumber(redis.call('HGET', KEYS[4], member) or '')
    if forced then sooner(member, forced) end
  end
end
return settled
