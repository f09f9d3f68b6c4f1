-- Read claimed profiles of one bucket, each with a new sequence number.
--
-- KEYS 1  settled hashes (hash)   2  announced hashes (hash)   3  sequences (hash)   4 ..  profiles (hashes)
-- ARGV the members, in the order of their keys
-- Nothing is written but the sequence: a second reading must not take for knowledge what the first one left.
-- Returns for each: version, head, settled, announced (false where absent; a hash and its sequence), sequence (text).
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local reply = {}
for i, member in ipairs(ARGV) do
  local sequence = math.max(now, (tonumber(redis.call('HGET', KEYS[3], member)) or 0) + 1)
  local text = string.format('%.0f', sequence)
  redis.call('HSET', KEYS[3], member, text)
  local profile = redis.call('HMGET', KEYS[3 + i], 'v', 'h')
  reply[#reply + 1] = profile[1]
  reply[#reply + 1] = profile[2]
  reply[#reply + 1] = redis.call('HGET', KEYS[1], member)
  reply[#reply + 1] = redis.call('HGET', KEYS[2], member)
  reply[#reply + 1] = text
end
return reply
