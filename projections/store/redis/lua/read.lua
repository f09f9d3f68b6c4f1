-- Read claimed profiles of one bucket, each with a new sequence number.
--
-- KEYS 1  settled hashes (hash)   2  announced hashes (hash)   3  sequences (hash)   4 ..  profiles (hashes)
-- ARGV the members, in the order of their keys
-- Nothing is written but the sequence: a second reading must not take for knowledge what the first one left.
-- Returns for each: version, head, settled, announced (false where absent; a hash and its sequence), sequence (text).
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local reply, given = {}, {}
local last = redis.call('HMGET', KEYS[3], unpack(ARGV))
local settled = redis.call('HMGET', KEYS[1], unpack(ARGV))
local announced = redis.call('HMGET', KEYS[2], unpack(ARGV))
for i, member in ipairs(ARGV) do
  local text = string.format('%.0f', math.max(now, (tonumber(last[i] or 0) or 0) + 1))
  local profile = redis.call('HMGET', KEYS[3 + i], 'v', 'h')
  local at = 5 * i
  reply[at - 4], reply[at - 3], reply[at - 2], reply[at - 1] = profile[1], profile[2], settled[i], announced[i]
  reply[at] = text
  given[2 * i - 1], given[2 * i] = member, text
end
redis.call('HSET', KEYS[3], unpack(given))
return reply
