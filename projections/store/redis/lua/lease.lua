-- Take a lease, or renew one's own.
--
-- KEYS 1  lease (string)
-- ARGV 1  token   2  length, milliseconds
-- Returns 1 where the lease is the caller's, else 0.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
