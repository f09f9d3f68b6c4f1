-- When something of one bucket is due, or a claim ends.
--
-- KEYS 1  due (sorted set)   2  leases (sorted set)
-- Returns the lowest score (text, milliseconds), or false where there is nothing.
local lowest = false
for _, key in ipairs(KEYS) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] and (not lowest or tonumber(first[2]) < tonumber(lowest)) then lowest = first[2] end
end
return lowest
