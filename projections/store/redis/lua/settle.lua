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

-- One command for all profiles where that is possible: calling one costs more than what it does.
local members = {}
for i = 8, #KEYS do members[i - 7] = ARGV[4 + (i - 8) * 7] end
local held = redis.call('HMGET', tokens, unpack(members))
local stored_announcements = redis.call('HMGET', announced, unpack(members))
local stored_force = redis.call('HMGET', force, unpack(members))
local mine, hashes, announcements, settled_ones, soon, removed = {}, {}, {}, {}, {}, {}
local at = nil -- when the profile at hand is due, where that is sooner than what is stored

local function sooner(time) if not at or time < at then at = time end end

local function again(i)
  if not stored_force[i] then
    stored_force[i] = string.format('%.0f', now)
    redis.call('HSET', force, members[i], stored_force[i])
  end
  sooner(now)
end

local function note_announced(i, hash, sent, sequence, read)
  local stored = stored_announcements[i] or ''
  local stored_hash, stored_sequence = string.match(stored, '^(.*) (%d+)$')
  if sent and stored ~= read and stored_hash ~= hash then again(i) end
  if not stored_hash or (sent and tonumber(sequence) >= tonumber(stored_sequence)) then
    announcements[#announcements + 1] = members[i]
    announcements[#announcements + 1] = hash .. ' ' .. (sent and sequence or '0')
  end
end

for i, member in ipairs(members) do
  local first = 4 + (i - 1) * 7
  local version, hash, published, sequence = ARGV[first + 1], ARGV[first + 3], ARGV[first + 4], ARGV[first + 5]
  at = nil
  if held[i] == ARGV[1] then
    mine[#mine + 1] = member
    hashes[#hashes + 1] = member
    hashes[#hashes + 1] = hash
    note_announced(i, hash, published == '2', sequence, ARGV[first + 6])
    local present = redis.call('HGET', KEYS[7 + i], 'v') or ''
    if present == version then
      settled_ones[#settled_ones + 1] = member
      at = nil
    else
      sooner(now + tonumber(ARGV[2]))
    end
    if ARGV[first + 2] == '2' then
      stored_force[i] = string.format('%.0f', now + tonumber(ARGV[3]))
      redis.call('HSET', force, member, stored_force[i])
    end
    local forced = tonumber(stored_force[i] or '')
    if forced then sooner(forced) end
    if present == '' and hash == '' then removed[#removed + 1] = member end
  elseif published ~= '0' then
    local last = redis.call('HGET', sequences, member) -- none where the store was lost
    if last and last ~= sequence then again(i) end
  end
  if at then
    soon[#soon + 1] = string.format('%.0f', at)
    soon[#soon + 1] = member
  end
end

local function each(command, key, values, option)
  if #values == 0 then return end
  if option then redis.call(command, key, option, unpack(values)) else redis.call(command, key, unpack(values)) end
end

each('HDEL', tokens, mine)
each('ZREM', leases, mine)
each('HSET', settled, hashes)
each('HSET', announced, announcements)
each('ZREM', due, settled_ones)
each('ZADD', due, soon, 'LT')
each('HDEL', settled, removed) -- this folder is done with what is no more
each('HDEL', announced, removed)
return #mine
