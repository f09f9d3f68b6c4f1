-- End claims of one bucket.
--
-- KEYS 1  due (sorted set)   2  leases (sorted set)   3  tokens (hash)   4  force (hash)   5  settled hashes (hash)
--      6  announced hashes (hash)   7  sequences (hash)   8 ..  profiles (hashes)
-- ARGV 1  token   2  debounce, milliseconds   3  delay of the forced flush after a take-over, milliseconds
--      then for each profile: member, version read, flags (2: taken over), hash, what was published (0 nothing, 1 file,
--      2 announcement), sequence of the reading, what it found announced ('hash sequence', '' for nothing)
-- Returns the number of claims that were still the caller's.
-- A profile that was forced since it was claimed stays due. An announced hash is stored with its sequence; one with a
-- higher sequence stays. Forced at once is an announcement where another one was stored since the reading: the topic
-- may hold them in either order. So is what was published under a claim that is no longer the caller's, if the profile
-- was read again since: a call that arrives twice finds its own sequence, and does nothing.
local due, leases, tokens, force, settled = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local announced, sequences = KEYS[6], KEYS[7]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local count = 0

local function sooner(member, at) redis.call('ZADD', due, 'LT', string.format('%.0f', at), member) end

local function again(member)
  redis.call('HSETNX', force, member, string.format('%.0f', now))
  sooner(member, now)
end

local function note_announced(member, hash, sent, sequence, read)
  local stored = redis.call('HGET', announced, member) or ''
  local stored_hash, stored_sequence = string.match(stored, '^(.*) (%d+)$')
  if sent and stored ~= read and stored_hash ~= hash then again(member) end
  if not stored_hash or (sent and tonumber(sequence) >= tonumber(stored_sequence)) then
    redis.call('HSET', announced, member, hash .. ' ' .. (sent and sequence or '0'))
  end
end

for i = 8, #KEYS do
  local at = 4 + (i - 8) * 7
  local member, version, hash = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  local published, sequence = ARGV[at + 4], ARGV[at + 5]
  if redis.call('HGET', tokens, member) == ARGV[1] then
    count = count + 1
    redis.call('HDEL', tokens, member)
    redis.call('ZREM', leases, member)
    redis.call('HSET', settled, member, hash)
    note_announced(member, hash, published == '2', sequence, ARGV[at + 6])
    local present = redis.call('HGET', KEYS[i], 'v') or ''
    if present == version then
      redis.call('ZREM', due, member)
    else
      sooner(member, now + tonumber(ARGV[2]))
    end
    if ARGV[at + 2] == '2' then
      redis.call('HSET', force, member, string.format('%.0f', now + tonumber(ARGV[3])))
    end
    local forced = tonumber(redis.call('HGET', force, member) or '')
    if forced then sooner(member, forced) end
    if present == '' and hash == '' then -- removed, and this folder is done with it
      redis.call('HDEL', settled, member)
      redis.call('HDEL', announced, member)
    end
  elseif published ~= '0' then
    local last = redis.call('HGET', sequences, member) -- none where the store was lost
    if last and last ~= sequence then again(member) end
  end
end
return count
